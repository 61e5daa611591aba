# mibias in a container, on CPUs and on NVIDIA GPUs:
#   docker build -t mibias .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/data" --user "$(id -u):$(id -g)" mibias train recipe.yaml
# torch's usual wheels for Linux carry CUDA, some gigabytes of it, and run without a GPU as well. An image for CPUs alone:
#   docker build -t mibias:cpu --build-arg TORCH="what pytorch.org tells pip to install for CPUs" .
FROM python:3.12-slim

ARG TORCH="torch>=2.6 torchvision"
ARG EXTRAS=""
# what is fetched is kept below it, and anybody may write there, whoever the container runs as
ENV HOME=/var/cache/mibias PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1

# torch first: a change of mibias leaves that layer as it is
RUN pip install $TORCH
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE /src/
COPY mibias_cli /src/mibias_cli
COPY recipes /src/recipes
RUN pip install "/src${EXTRAS:+[$EXTRAS]}" && rm -rf /src && mkdir -p "$HOME" /data && chmod 1777 "$HOME" /data

WORKDIR /data
USER nobody
ENTRYPOINT ["mibias"]
CMD ["--help"]
