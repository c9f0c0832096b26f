# Camreel's image. On a CPU:
#
#     docker build -t camreel .
#     docker run --rm -v camreel:/data camreel camreel token create me --scope admin
#     docker run --read-only --tmpfs /tmp --cap-drop ALL -v camreel:/data -p 127.0.0.1:8000:8000 camreel
#
# On a GPU (the host needs the NVIDIA Container Toolkit):
#
#     docker build -t camreel:cuda --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 .
#     docker run --gpus all --read-only ... camreel:cuda
#
# Only the base differs. PyPI's Linux wheels of torch are CUDA builds: they contain the CUDA libraries
# and fall back to the CPU if there is no GPU. The CUDA base adds the environment variables with which
# the toolkit makes the driver's libraries available in the container.
#
# These wheels take about 5 GB. PyTorch's own index has much smaller CPU-only wheels; its address is
# on PyTorch's page "Get Started" (compute platform CPU):
#
#     docker build -t camreel --build-arg TORCH_INDEX=<address of the CPU index> .
#
# torch and torchvision then come from this index in the locked versions, but without hash checks,
# because the lock contains the hashes of PyPI's files. All other packages are still checked.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS base
# CUDA bases have no Python. The base determines its version, so none is pinned here.
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
# Before the sources, so that changing them does not reinstall the dependencies. --no-deps: the lock
# is complete.
COPY requirements.lock ./
RUN if [ -z "$TORCH_INDEX" ]; then \
        pip install --no-deps --require-hashes -r requirements.lock; \
    else \
        awk '/^[a-z0-9]/ { included = !/^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/ } included' \
            requirements.lock > rest.lock \
        && grep -oE '^torch(vision)?==[0-9.]+' requirements.lock > torch.txt \
        && pip install --no-deps --require-hashes -r rest.lock \
        && pip install --no-deps --index-url "$TORCH_INDEX" -r torch.txt; \
    fi
COPY . .
# Wheels instead of editable installs: the packages are self-contained, with their migrations.
RUN pip wheel --no-deps --wheel-dir /wheels ./client . && pip install --no-deps /wheels/*.whl

FROM base AS runtime
RUN groupadd --gid 10001 camreel \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin camreel \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
# Owned by root, so the service's user cannot change the files; includes the bytecode that pip compiled.
COPY --from=build /opt/camreel /opt/camreel
# The service writes only to /data, so the root file system can be read-only.
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
