# mibias in a container, on CPUs and on NVIDIA GPUs:
#   docker build -t mibias .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" --user "$(id -u):$(id -g)" mibias train recipe.yaml
# torch's usual wheels for Linux carry CUDA, some gigabytes of it, and run without a GPU as well. For CPUs alone give the
# index of torch's CPU wheels that pytorch.org names:
#   docker build -t mibias:cpu --build-arg TORCH_INDEX=URL .
FROM python:3.12-slim

ARG TORCH_INDEX=""
ARG EXTRAS=""
# weights that are fetched, compiled code and matplotlib's fonts: anybody may write there, whoever the container runs as
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 HOME=/home/mibias HF_HOME=/cache/huggingface MIBIAS_CACHE=/cache/mibias

# torch first: a change of mibias leaves that layer as it is
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.6" torchvision
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE /src/
COPY mibias_cli /src/mibias_cli
COPY recipes /src/recipes
RUN pip install "/src${EXTRAS:+[$EXTRAS]}" && rm -rf /src \
    && mkdir -p /home/mibias /cache /work && chmod 1777 /home/mibias /cache /work

WORKDIR /work
USER nobody
ENTRYPOINT ["mibias"]
CMD ["--help"]
