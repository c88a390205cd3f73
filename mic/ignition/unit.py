"""The systemd unit that runs the agent's container on the host."""

from __future__ import annotations

from mic.ignition.agent import Agent
from mic.ignition.escape import systemd_argument, systemd_environment

NAME = "ironic-agent.service"
AGENT_CONF = "/etc/ironic-python-agent.conf"
AUTH_FILE = "/etc/authfile.json"
IRONIC_CA = "/etc/pki/ca-trust/source/anchors/ironic-ca.crt"

_MOUNTS = (
    (AGENT_CONF, "/etc/ironic-python-agent/ignition.conf"),
    ("/dev", "/dev"),
    ("/sys", "/sys"),
    ("/run/dbus/system_bus_socket", "/run/dbus/system_bus_socket"),
    ("/", "/mnt/coreos"),
    ("/run/udev", "/run/udev"),
)
_CONTAINER_ID = "--cidfile=%t/%n.ctr-id"


def agent_unit(agent: Agent, *, host_name: str, copy_network: bool) -> str:
    """Return the text of ``ironic-agent.service``.

    ``copy_network``: whether the image has keyfiles; the installed system then inherits them.
    """
    environment = {
        "IPA_COREOS_IP_OPTIONS": agent.ip_options,
        "IPA_COREOS_COPY_NETWORK": "true" if copy_network else "false",
        "IPA_DEFAULT_HOSTNAME": host_name,
    }
    mounts = [f"type=bind,src={source},dst={target}" for source, target in _MOUNTS]
    if agent.ironic_ca_bundle:
        mounts.append(f"type=bind,src={IRONIC_CA},dst={IRONIC_CA},readonly")
        # Python's requests reads the first, its ssl module the second.
        environment |= {"REQUESTS_CA_BUNDLE": IRONIC_CA, "SSL_CERT_FILE": IRONIC_CA}
    # No --tls-verify=false: the agent is a privileged container, and the registry receives the
    # pull secret. registries.conf can make exceptions ("insecure = true") per registry.
    options = [f"--authfile={AUTH_FILE}"] if agent.pull_secret else []
    run = [
        "/bin/podman run --detach --cgroups=no-conmon --sdnotify=conmon --rm",
        _CONTAINER_ID,
        "--privileged --network host",
        *(f"--mount {mount}" for mount in mounts),
        "--ipc=host --uts=host",
        *(f"--env {systemd_argument(f'{name}={value}')}" for name, value in environment.items()),
        *options,
        "--name ironic-agent",
        systemd_argument(agent.image),
    ]
    return "\n".join(
        [
            "[Unit]",
            "Description=Ironic Agent",
            "After=network-online.target",
            "Wants=network-online.target",
            # systemd ignores it in [Service]; then the agent would stay down after five failures.
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            systemd_environment("HTTP_PROXY", agent.http_proxy),
            systemd_environment("HTTPS_PROXY", agent.https_proxy),
            systemd_environment("NO_PROXY", agent.no_proxy),
            "Type=notify",
            # No limit: pulling the image over a slow line may take long.
            "TimeoutStartSec=0",
            "Restart=on-failure",
            "RestartSec=5",
            "ExecStartPre=/bin/rm -f %t/%n.ctr-id",
            f"ExecStart={' '.join(run)}",
            f"ExecStop=/usr/bin/podman stop --ignore {_CONTAINER_ID}",
            f"ExecStopPost=/usr/bin/podman rm -f --ignore {_CONTAINER_ID}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )
