# Two images of the `rsfusion` command:
#   docker build --target cpu  -t rsfusion .
#   docker build --target cuda -t rsfusion:cuda .     # needs NVIDIA's container toolkit to run
# Images and runs are read and written in /data:
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" rsfusion fuse PAN.tif MS.tif OUT.tif
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.12-slim AS system
# GDAL in rasterio's wheels is linked to the system's libexpat, which slim images lack.
RUN apt-get update && apt-get install --yes --no-install-recommends libexpat1 \
    && rm -rf /var/lib/apt/lists/*
# Any user may run the image: caches go where everybody may write.
ENV XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
ENTRYPOINT ["rsfusion"]
CMD ["--help"]

# The wheel is mounted while it is installed, so that no layer keeps it.
FROM system AS cuda
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/*.whl)[cuda13]"

FROM system AS cpu
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir /wheels/*.whl
