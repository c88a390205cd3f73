# The container image of mic: Debian, its Python, and mic in /opt/mic. See docs/container.md.
#
# Runs as any user, on a read-only root, without /tmp: everything that Python and Twisted would
# write (bytecode, the plugin cache) is written here.

ARG BASE=docker.io/library/debian:12-slim

FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old \
           /var/log/apt /var/log/alternatives.log /var/log/dpkg.log

FROM python AS build
# For those who build behind a mirror or a proxy of their own.
ARG PIP_INDEX_URL
ARG PIP_CERT
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
COPY . /src
# --only-binary: there is no compiler, and there should be none. Of the libraries their own tests
# are left out, and kubernetes.aio: the same client once more, for asyncio, and half of /opt/mic.
RUN python3 -m venv /tools \
 && python3 -m venv --without-pip /opt/mic \
 && /tools/bin/pip wheel --no-deps --wheel-dir /wheel /src \
 && /tools/bin/pip --python /opt/mic/bin/python install \
        --no-compile --only-binary :all: /wheel/*.whl \
 && find /opt/mic/lib -depth -type d \( -name test -o -name tests \) -exec rm -r {} + \
 && rm -r /opt/mic/bin/[Aa]ctivate* /opt/mic/lib/python3*/site-packages/kubernetes/aio
# Hashes that nobody checks, instead of times: a layer may be unpacked with other times.
RUN /opt/mic/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/mic/lib \
 && /opt/mic/bin/twistd --help > /dev/null \
 && test -s /opt/mic/lib/python3*/site-packages/twisted/plugins/dropin.cache \
 && /opt/mic/bin/python -B -c "import kubernetes.client, kubernetes.config, kubernetes.watch"
# The names of the Go implementation, whichever of them this version has.
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
# Only for those who run it by hand: orchestrators have probes of their own. Not answering while
# it reads base images is in order, hence the long start.
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s --retries=3 \
    CMD ["/opt/mic/bin/python", "-I", "-m", "mic.health"]
# No USER: existing deployments give it a block device or files of root's. It needs no rights of
# root's, and whoever runs it should give it another user. No ENTRYPOINT: they give the command.
CMD ["mic", "-help"]
