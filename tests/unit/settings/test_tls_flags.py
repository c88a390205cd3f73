"""Flags of TLS, and of plain HTTP next to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import issue
from settings_support import problems_of

from mic.common.errors import ConfigError
from mic.settings.load import load
from mic.settings.model import (
    Mode,
    Tcp,
)
from mic.tls.certificate import DEFAULT_CIPHERS, Tls, TlsVersion


class TestTls:
    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, str]:
        cert, key = issue().write(tmp_path)
        return {"images-tls-cert-file": str(cert), "images-tls-key-file": str(key)}

    def test_reads_certificate_and_key(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        cert, key = files.values()
        settings = load(Mode.STATIC, environment, {**flags, **files})
        assert settings.tls == Tls(cert_file=cert, key_file=key)
        assert settings.tls.min_version == "1.2"
        assert settings.http_bind is None

    def test_rejects_one_without_the_other(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        for name in files:
            (problem,) = problems_of(environment, {**flags, **files, name: ""})
            assert problem.startswith(f"-{name} is missing")
            (problem,) = problems_of(environment, {**flags, **files, name: "/no/such"})
            assert problem == f"-{name}: /no/such: No such file or directory"

    def test_rejects_a_key_of_another_certificate(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        files: dict[str, str],
        tmp_path: Path,
    ) -> None:
        _, other = issue().write(tmp_path / "other")
        given_flags = {**flags, **files, "images-tls-key-file": str(other)}
        (problem,) = problems_of(environment, given_flags)
        assert f"{other} is not the key of the first certificate in" in problem

    def test_reads_version_and_ciphers(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        given_flags = {**flags, **files, "images-tls-min-version": "1.3"}
        tls = load(Mode.STATIC, environment, given_flags).tls
        assert tls
        assert tls.min_version is TlsVersion.TLS_1_3
        given_flags = {**flags, **files, "images-tls-ciphers": "ECDHE+AESGCM"}
        tls = load(Mode.STATIC, environment, given_flags).tls
        assert tls
        assert tls.ciphers == "ECDHE+AESGCM"
        empty = {"images-tls-min-version": "", "images-tls-ciphers": ""}
        tls = load(Mode.STATIC, environment, {**flags, **files, **empty}).tls
        assert tls
        assert (tls.min_version, tls.ciphers) == (TlsVersion.TLS_1_2, DEFAULT_CIPHERS)

    @pytest.mark.parametrize("flag", ["images-tls-min-version", "images-tls-max-version"])
    @pytest.mark.parametrize("version", ["1.1", "1.0", "TLSv1.2", "1.4", "ssl3", "1.2 ", "13"])
    def test_rejects_other_versions(
        self, environment: dict[str, str], flags: dict[str, str], flag: str, version: str
    ) -> None:
        (problem,) = problems_of(environment, {**flags, flag: version})
        assert problem == f"-{flag}: {version!r} is none of 1.2, 1.3"

    @pytest.mark.parametrize(
        ("oldest", "newest"),
        [("", ""), ("", "1.2"), ("1.2", "1.2"), ("1.2", "1.3"), ("1.3", "1.3"), ("1.3", "")],
    )
    def test_reads_the_newest_version(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        files: dict[str, str],
        oldest: str,
        newest: str,
    ) -> None:
        versions = {"images-tls-min-version": oldest, "images-tls-max-version": newest}
        tls = load(Mode.STATIC, environment, {**flags, **files, **versions}).tls
        assert tls
        assert (tls.min_version, tls.max_version or "") == (oldest or "1.2", newest)

    def test_rejects_a_newest_version_older_than_the_oldest(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        versions = {"images-tls-min-version": "1.3", "images-tls-max-version": "1.2"}
        for more in ({}, {"images-tls-ciphers": "ECDHE+AESGCM"}):
            problem, *others = problems_of(environment, {**flags, **files, **versions, **more})
            assert problem == (
                "-images-tls-max-version: 1.2 is older than the 1.3 of -images-tls-min-version: "
                "no version is left"
            )
            assert not others

    def test_reports_all_tls_problems_at_once(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        problems = problems_of(
            environment,
            {
                **flags,
                "images-tls-cert-file": "/no/cert",
                "images-tls-key-file": "/no/key",
                "images-tls-min-version": "2",
                "images-tls-ciphers": "GOOD",
                "images-http-bind-addr": "8085",
                "images-http-publish-addr": "images:8085",
            },
        )
        assert [problem.split(":")[0] for problem in problems] == [
            "-images-tls-min-version",
            "-images-tls-ciphers",
            "-images-http-bind-addr",
            "-images-http-publish-addr",
            "-images-tls-cert-file",
            "-images-tls-key-file",
        ]

    def test_rejects_ciphers_of_an_excluded_version(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        both = {"images-tls-min-version": "1.3", "images-tls-ciphers": "ECDHE+AESGCM"}
        (problem,) = problems_of(environment, {**flags, **files, **both})
        assert problem.startswith("-images-tls-ciphers is for TLS 1.2, which")

    @pytest.mark.parametrize(
        "more",
        [
            {"images-tls-min-version": "1.3"},
            {"images-tls-max-version": "1.2"},
            {"images-tls-max-version": "1.3"},
            {"images-tls-ciphers": "ECDHE+AESGCM"},
        ],
    )
    def test_rejects_tls_settings_without_a_certificate(
        self, environment: dict[str, str], flags: dict[str, str], more: dict[str, str]
    ) -> None:
        (problem,) = problems_of(environment, {**flags, **more})
        assert problem.startswith("-images-tls-cert-file is missing")

    def test_reads_the_address_of_plain_http_next_to_https(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str]
    ) -> None:
        http = {"images-http-bind-addr": ":8085", "images-http-publish-addr": "http://mic:8085/"}
        settings = load(Mode.STATIC, environment, {**flags, **files, **http})
        assert settings.http_bind == Tcp(host="", port=8085)
        assert settings.http_publish_url == "http://mic:8085"

    def test_rejects_plain_http_next_to_plain_http(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        (problem,) = problems_of(environment, {**flags, "images-http-bind-addr": ":8085"})
        assert problem.startswith("-images-http-bind-addr needs -images-tls-cert-file")

    def test_rejects_a_url_where_nothing_is_served(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        (problem,) = problems_of(environment, {**flags, "images-http-publish-addr": "http://mic"})
        assert problem.startswith("-images-http-publish-addr needs -images-http-bind-addr")

    @pytest.mark.parametrize("url", ["http://images.example:8084", "HTTP://192.0.2.1/a", None])
    def test_rejects_a_plain_publish_address_of_https_in_controller_mode(
        self,
        environment: dict[str, str],
        flags: dict[str, str],
        files: dict[str, str],
        url: str | None,
    ) -> None:
        more = {**flags, **files, **({"images-publish-addr": url} if url else {})}
        # A plain address of its own does not make it right: ISOs are not published there.
        http = {"images-http-bind-addr": ":8085", "images-http-publish-addr": "http://mic:8085"}
        for given_flags in (more, {**more, **http}):
            with pytest.raises(ConfigError) as caught:
                load(Mode.CONTROLLER, environment, given_flags)
            (problem,) = caught.value.problems
            shown = url or "http://127.0.0.1:8084 (the default)"
            assert problem == (
                f"-images-publish-addr: {shown} is not https://, but -images-tls-cert-file makes "
                "-images-bind-addr HTTPS: no client of such a URL would get an image; give the "
                "https:// URL"
            )
            # There it is only printed.
            assert load(Mode.STATIC, environment, given_flags).warnings == (problem,)

    @pytest.mark.parametrize("mode", Mode)
    def test_accepts_a_matching_publish_address_without_a_warning(
        self, environment: dict[str, str], flags: dict[str, str], files: dict[str, str], mode: Mode
    ) -> None:
        secure = {**files, "images-publish-addr": "HTTPS://images.example:8084"}
        http = {"images-http-bind-addr": ":8085", "images-http-publish-addr": "http://mic:8085"}
        # A proxy may end TLS.
        proxied = {"images-publish-addr": "https://images.example"}
        for more in ({}, secure, {**secure, **http}, proxied):
            assert load(mode, environment, {**flags, **more}).warnings == ()

    @pytest.mark.parametrize("endpoint", ["ssl:8084", "tls:/etc/mic:tcp:8084"])
    def test_treats_a_tls_endpoint_as_https(
        self, environment: dict[str, str], flags: dict[str, str], endpoint: str
    ) -> None:
        with pytest.raises(ConfigError, match="is not https://, but -images-bind-addr is HTTPS"):
            load(Mode.CONTROLLER, environment, {**flags, "images-bind-addr": endpoint})
