"""Hints for misspelt variables."""

from __future__ import annotations

import pytest

from mic.common.spelling import distance, nearest
from mic.settings.spelling import misspelt
from mic.settings.table import VARIABLES

KNOWN = [variable.name for variable in VARIABLES]


def hints(*names: str) -> list[tuple[str, str]]:
    return list(misspelt(dict.fromkeys(names, "value"), KNOWN))


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [
        ("", "", 0),
        ("a", "", 1),
        ("", "abc", 3),
        ("kitten", "sitting", 3),
        ("IRONIC_BASEURL", "IRONIC_BASE_URL", 1),
        ("ab", "ba", 2),
    ],
)
def test_counts_edits(one: str, other: str, edits: int) -> None:
    assert distance(one, other) == distance(other, one) == edits


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("IRONIC_BASEURL", "IRONIC_BASE_URL"),
        ("IRONIC_BASE_URLS", "IRONIC_BASE_URL"),
        ("IRONIC_BASE_ULR", "IRONIC_BASE_URL"),
        ("IRONC_BASEURL", "IRONIC_BASE_URL"),
        ("IRONIC_RAMDISK_SSH_KEYS", "IRONIC_RAMDISK_SSH_KEY"),
        ("DEPLOY_INITRAMFS", ""),
        ("DEPLOY_INTRD", "DEPLOY_INITRD"),
        ("DEPLOY_IMG", "DEPLOY_ISO"),
        ("HTTPPROXY", "HTTP_PROXY"),
        ("HTTPSPROXY", "HTTPS_PROXY"),
        ("CABUNDLE", "CA_BUNDLE"),
        ("KUBE_CONFIG", "KUBECONFIG"),
        ("MIC_NMSTATE_BACKENDS", "MIC_NMSTATE_BACKEND"),
        ("MIC_URL_KEYFILE", "MIC_URL_KEY_FILE"),
        ("MIC_MAX_DOWNLOAD", "MIC_MAX_DOWNLOADS"),
    ],
)
def test_names_the_nearest_variable_within_two_edits(name: str, known: str) -> None:
    assert hints(name) == ([(name, known)] if known else [])


@pytest.mark.parametrize("known", KNOWN)
def test_finds_two_edits_and_no_third_in_each_variable(known: str) -> None:
    assert nearest(f"{known}XX", KNOWN, 2) == known
    assert nearest(f"X{known}XX", KNOWN, 2) == ""


def test_known_variables_are_no_mistakes() -> None:
    assert hints(*KNOWN) == []


def test_variables_of_the_system_are_no_mistakes() -> None:
    system = (
        "HOME PATH PWD USER SHELL LANG LC_ALL TERM TZ HOSTNAME SHLVL OLDPWD LOGNAME MAIL EDITOR "
        "LS_COLORS LS_OPTIONS LD_LIBRARY_PATH LD_PRELOAD PYTHONPATH PYTHONUNBUFFERED VIRTUAL_ENV "
        "http_proxy https_proxy no_proxy ftp_proxy all_proxy FTP_PROXY ALL_PROXY SOCKS_PROXY "
        "RSYNC_PROXY GOPROXY GONOPROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE AWS_CA_BUNDLE "
        "CURL_CA_BUNDLE GIT_SSL_CAINFO JAVA_OPTIONS NODE_OPTIONS TAR_OPTIONS NODE_EXTRA_CA_CERTS "
        "CREDENTIALS_DIRECTORY NOTIFY_SOCKET LISTEN_FDS LISTEN_PID LISTEN_FDNAMES WATCHDOG_USEC "
        "WATCHDOG_PID INVOCATION_ID JOURNAL_STREAM MEMORY_PRESSURE_WATCH SYSTEMD_EXEC_PID "
        "XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS NAMESPACE POD_NAMESPACE POD_NAME POD_IP "
        "NODE_NAME container KUBERNETES_SERVICE_HOST KUBERNETES_PORT_443_TCP_ADDR _"
    ).split()
    assert hints(*system) == []


@pytest.mark.parametrize(
    "name",
    [
        "{}_SERVICE_HOST",
        "{}_SERVICE_PORT",
        "{}_SERVICE_PORT_HTTPS",
        "{}_PORT",
        "{}_PORT_443_TCP",
        "{}_PORT_443_TCP_ADDR",
        "{}_PORT_8084_UDP_PROTO",
    ],
)
def test_variables_that_kubernetes_makes_for_services_are_no_mistakes(name: str) -> None:
    variable = name.format("MIC")
    known = [variable[:-1], f"{variable}X"]
    assert list(misspelt({variable: ""}, known)) == []
    assert list(misspelt({f"{variable[:3]}{variable[4:]}": ""}, ["MICX"])) == []


def test_shows_a_name_in_printable_form() -> None:
    (hint,) = hints("CA_BUNDLE\x1b")
    assert hint == ("CA_BUNDLE\\x1b", "CA_BUNDLE")
    (hint,) = hints("CA_BUNDLE\udcff")
    assert hint == ("CA_BUNDLE\\udcff", "CA_BUNDLE")
