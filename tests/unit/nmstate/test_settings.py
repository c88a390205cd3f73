"""Link settings: ethtool and port authentication."""

from __future__ import annotations

from nmstate_support import interface, refusal, sections


def test_writes_ethtool() -> None:
    found = sections(
        interface("""\
ethtool:
  pause: {autoneg: false, rx: true, tx: false}
  feature: {rx-checksum: true, tx-tcp-segmentation: "false", ufo-less: true, gro: false}
  coalesce: {adaptive-rx: true, rx-usecs: 100, tx-usecs: 3, tx-frames: "7"}
  ring: {rx: 512, rx-max: 4096, rx-jumbo: 3, tx: "0x100"}
""").replace("ufo-less: true, ", "")
    )
    assert found["ethtool"] == {
        "coalesce-adaptive-rx": "1",
        "coalesce-rx-usecs": "100",
        "coalesce-tx-frames": "7",
        "feature-gro": "false",
        "feature-rx": "true",
        "feature-tso": "false",
        "pause-autoneg": "false",
        "pause-rx": "true",
        "pause-tx": "false",
        "ring-rx": "512",
        "ring-rx-jumbo": "3",
        "ring-tx": "256",
    }


def test_omits_directions_of_negotiated_flow_control() -> None:
    found = sections(interface("ethtool: {pause: {autoneg: true, rx: true}}"))
    assert found["ethtool"] == {"pause-autoneg": "true"}


def test_rejects_unknown_features() -> None:
    assert "ethtool.feature.ufo-less" in refusal(interface("ethtool: {feature: {ufo-less: true}}"))
    assert "expected a boolean" in refusal(interface("ethtool: {feature: {gro: 1}}"))


def test_writes_port_authentication() -> None:
    found = sections(
        interface("""\
802.1x:
  identity: host1
  eap-methods: [peap, tls]
  private-key: /etc/pki/key.pem
  client-cert: /etc/pki/cert.pem
  ca-cert: /etc/pki/ca.pem
  private-key-password: sesame
  phase2-auth: mschapv2
  password: "<_password_hid_by_nmstate>"
""")
    )
    assert found["802-1x"] == {
        "ca-cert": "/etc/pki/ca.pem",
        "client-cert": "/etc/pki/cert.pem",
        "eap": "peap;tls;",
        "identity": "host1",
        "phase2-auth": "mschapv2",
        "private-key": "/etc/pki/key.pem",
        "private-key-password": "sesame",
    }


def test_never_shows_a_secret_in_an_error() -> None:
    secret = "sesame-4711"
    for members in (
        f"802.1x: {{password: [{secret}]}}",
        f"802.1x: {{private-key-password: {{a: {secret}}}}}",
        f"802.1x: {{password: !{secret} x}}",
        f"802.1x: {{password: *{secret}}}",
        f"802.1x: {{password: '{secret}}}",
        f"802.1x: {{password: {secret}\n]",
        f"802.1x:\n  password: @{secret}",
        f"802.1x: {{password: {secret}, password: {secret}}}\nmtu: x",
    ):
        assert secret not in refusal(interface(members))
