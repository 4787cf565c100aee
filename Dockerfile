# An image that runs jlora on NVIDIA GPUs, or on CPUs:
#   scripts/bundle && docker build -t jlora .
# CUDA 13 needs a driver of release 580 or newer; for an older one (525 or newer):
#   docker build --build-arg BASE=nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04 -t jlora .
# The base image brings cuBLASLt, cuDNN and NCCL; Java comes with the bundle.
ARG BASE=nvidia/cuda:13.0.0-cudnn-runtime-ubuntu24.04
FROM ${BASE}

# Open MPI joins workers on CPUs; util-linux has setsid and setpriv, which jlora launch local uses.
RUN apt-get update \
    && apt-get install -y --no-install-recommends openmpi-bin util-linux \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 jlora \
    && useradd --uid 10001 --gid 10001 --create-home jlora

COPY target/bundle/jlora-*-linux-x86_64/ /opt/jlora/

ENV PATH=/opt/jlora/bin:${PATH} \
    LC_ALL=C.UTF-8

# By number: Kubernetes' runAsNonRoot cannot tell by a name.
USER 10001:10001
WORKDIR /home/jlora

# The shell form would keep signals from jlora.
ENTRYPOINT ["jlora"]
CMD ["--help"]
