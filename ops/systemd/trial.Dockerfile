# Image for ops/systemd-check: systemd, Redis, and Sigmill where the units expect it.
ARG SIGMILL_IMAGE
FROM ${SIGMILL_IMAGE}
USER 0:0
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        systemd dbus redis-server curl openssl util-linux >/dev/null && \
    rm -rf /var/lib/apt/lists/* && \
    systemctl disable redis-server
ENTRYPOINT []
CMD ["/lib/systemd/systemd"]
