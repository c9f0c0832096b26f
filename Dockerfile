# Camreel's image. On the CPU:
#
#     docker build -t camreel .
#     docker run --rm -v camreel:/data camreel camreel token create me --scope admin
#     docker run --read-only --tmpfs /tmp --cap-drop ALL -v camreel:/data -p 127.0.0.1:8000:8000 camreel
#
# On a GPU, the host having NVIDIA's container toolkit:
#
#     docker build -t camreel:cuda --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 .
#     docker run --gpus all --read-only ... camreel:cuda
#
# The base alone differs. PyPI's Linux wheels of torch are CUDA builds: they bring CUDA's libraries
# with them and work on the CPU where they find no GPU. What the slim base lacks for a GPU is what the
# CUDA base has: the settings by which the toolkit hands the driver's libraries to the container.
#
# Those wheels take about 5 GB. torch's CPU-only wheels, far smaller, are on an index of torch's own;
# its address is on torch's page "Get started" (compute platform CPU):
#
#     docker build -t camreel --build-arg TORCH_INDEX=<address of the CPU index> .
#
# torch and torchvision then come from there, in the locked versions, but without the lock's hashes:
# those are the hashes of PyPI's files. Everything else keeps its hash.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS base
# CUDA's bases have no Python. Its version is the base's to choose, so none is pinned here.
# hadolint ignore=DL3008
RUN if ! command -v python3; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    fi

FROM base AS build
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/camreel
ENV PATH=/opt/camreel/bin:$PATH
WORKDIR /source
# Before the sources: a change of them installs nothing anew. --no-deps: the lock is complete.
COPY requirements.lock ./
RUN if [ -z "$TORCH_INDEX" ]; then \
        pip install --no-deps --require-hashes -r requirements.lock; \
    else \
        awk '/^[a-z0-9]/ { keep = !/^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/ } keep' \
            requirements.lock > rest.lock \
        && grep -oE '^torch(vision)?==[0-9.]+' requirements.lock > torch.txt \
        && pip install --no-deps --require-hashes -r rest.lock \
        && pip install --no-deps --index-url "$TORCH_INDEX" -r torch.txt; \
    fi
COPY . .
# A wheel, not an editable install: the package then stands on its own, with its migrations inside.
RUN pip wheel --no-deps --wheel-dir /wheels . && pip install --no-deps /wheels/*.whl

FROM base AS runtime
RUN groupadd --gid 10001 camreel \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin camreel \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
# Root's files, which the service's user reads and cannot change; pip left their bytecode beside them.
COPY --from=build /opt/camreel /opt/camreel
# All that is ever written goes to /data, so that the root file system can be read-only.
ENV PATH=/opt/camreel/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CAMREEL_STATE_DIR=/data \
    CAMREEL_HOST=0.0.0.0 \
    CAMREEL_PORT=8000
WORKDIR /data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ['CAMREEL_PORT']}/healthz\", timeout=4)"]
CMD ["camreel", "serve"]
