# Redis, Prometheus and Alertmanager from Debian's packages in one image, for hosts without access to a container registry.
# ops/compose-check builds and uses it.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        redis-server prometheus prometheus-alertmanager >/dev/null && \
    rm -rf /var/lib/apt/lists/* && \
    ln -s prometheus-alertmanager /usr/bin/alertmanager && \
    install -d -o 65534 -g 65534 /prometheus /alertmanager && \
    install -d -o 999 -g 999 /data
