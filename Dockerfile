# The image of every service of docker-compose.yml. No secret is in it, and nothing runs as root.

FROM python:3.13-slim-bookworm AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git bubblewrap libseccomp2 util-linux \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home compymac \
    && install --directory --owner compymac --mode 0711 /data
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY manage.py ./
COPY agents agents/
COPY compymac_site compymac_site/
COPY orchestration orchestration/
COPY templates templates/
COPY static static/
ENV DATA_DIR=/data PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
VOLUME /data

FROM base AS flower
COPY requirements-flower.txt .
RUN pip install --no-cache-dir --require-hashes --requirement requirements-flower.txt
USER compymac

FROM base AS panel
USER compymac
EXPOSE 8000
CMD ["uvicorn", "compymac_site.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--timeout-graceful-shutdown", "3", "--no-access-log"]
