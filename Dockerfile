# The container image of mic: Debian, its Python, and mic in /opt/mic. See docs/container.md.
#
# It runs as any user, on a read-only root, without /tmp: the build writes everything that Python and
# Twisted would write at run time (bytecode, the plugin cache).
#
# For equal layers in each build, pass --timestamp 0 (buildah, podman) and a base with its digest:
# --build-arg BASE=docker.io/library/debian:13-slim@sha256:...

# Debian 13, because small ranges are 10 % faster with its Python 3.13 than with 3.11.
ARG BASE=docker.io/library/debian:13-slim

FROM ${BASE} AS python
# The certificates and gpgv are for mic fetch.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates gpgv python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old \
           /var/cache/ldconfig/aux-cache /var/log/apt /var/log/alternatives.log /var/log/dpkg.log

FROM python AS build
# For builds behind a private mirror or proxy.
ARG PIP_INDEX_URL
ARG PIP_CERT
# pip imports some of the libraries; bytecode of that has timestamps in it.
ENV PYTHONDONTWRITEBYTECODE=1
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv
COPY . /src
COPY --from=python /var/lib/dpkg/status /status
# Exactly the libraries of constraints.txt, which tools/refresh-constraints writes. --only-binary: of
# theirs nothing is compiled here. The libraries' own tests are removed, and kubernetes.aio: a
# second copy of the client for asyncio, half the size of /opt/mic.
RUN python3 -m venv /tools \
 && python3 -m venv --without-pip /opt/mic \
 && SOURCE_DATE_EPOCH=315532800 /tools/bin/pip wheel --no-deps --wheel-dir /wheel /src /src/native \
 && /tools/bin/pip --python /opt/mic/bin/python install \
        --no-compile --only-binary :all: --require-hashes -r /src/constraints.txt \
 && /tools/bin/pip --python /opt/mic/bin/python install --no-compile --no-deps /wheel/*.whl \
 && /tools/bin/pip --python /opt/mic/bin/python check \
 && find /opt/mic/lib -depth -type d \( -name test -o -name tests \) -exec rm -r {} + \
 && rm -r /opt/mic/bin/[Aa]ctivate* /opt/mic/lib/python3*/site-packages/kubernetes/aio
RUN /opt/mic/bin/python /src/tools/sbom.py /status > /opt/mic/sbom.cdx.json
# Unchecked hashes instead of timestamps: a layer may be unpacked with other timestamps. One process
# with a constant hash seed: bytecode depends on the order of sets, and on what was compiled before.
RUN PYTHONHASHSEED=0 /opt/mic/bin/python -m compileall -q -j 1 --invalidation-mode unchecked-hash /opt/mic/lib \
 && /opt/mic/bin/twistd --help > /dev/null \
 && test -s /opt/mic/lib/python3*/site-packages/twisted/plugins/dropin.cache \
 && /opt/mic/bin/python -B -c "import kubernetes.client, kubernetes.config, kubernetes.watch"
# The names of the Go program that this version provides.
RUN mkdir /names && cd /opt/mic/bin \
 && for name in *image-customization-*; do ln -s "/opt/mic/bin/$name" "/names/$name"; done

FROM python
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="mic" \
      org.opencontainers.image.description="Streams CoreOS live images customised per host" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/mic /opt/mic
COPY --from=build /names/ /
ENV PATH=/opt/mic/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8084
# For containers that are run by hand: orchestrators have their own probes. mic does not answer while
# it reads base images, hence the long start period.
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s --retries=3 \
    CMD ["/opt/mic/bin/python", "-I", "-m", "mic.cli.healthcheck"]
# No USER: existing deployments give it a block device or files that belong to root. mic needs no
# root privileges: set another user where you run it. No ENTRYPOINT: deployments give the command.
CMD ["mic", "-help"]
