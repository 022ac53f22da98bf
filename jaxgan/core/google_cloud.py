"""What Google's metadata server tells a virtual machine about itself; asked only on such a machine."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import urllib.error
import urllib.request
from pathlib import Path

_PRODUCT = Path("/sys/class/dmi/id/product_name")


def on_google_cloud() -> bool:
    """Whether this is a machine of Google's, as its firmware says; looking up a name could take seconds elsewhere."""
    if os.environ.get("GCE_METADATA_HOST"):
        return True
    try:
        return _PRODUCT.read_text().startswith("Google")
    except OSError:
        return False


def on_tpu_vm() -> bool:
    """Whether this machine has TPU chips and the library that drives them."""
    devices = any(Path("/dev").glob("accel[0-9]*")) or any(Path("/dev/vfio").glob("[0-9]*"))
    return devices and importlib.util.find_spec("libtpu") is not None and on_google_cloud()


def metadata(key: str, *, wait_for_change: bool = False, last_etag: str = "", timeout: float = 10.0) -> tuple[str, str]:
    """Returns a value below `instance/`, and its etag; "" if there is none.

    Args:
      key: e.g. "maintenance-event" or "attributes/agent-worker-number".
      wait_for_change: answer only when the value differs from the one that `last_etag` names, or the time is over.
      last_etag: of the answer before.
      timeout: seconds.

    Raises:
      OSError: no answer.

    Source: https://cloud.google.com/compute/docs/metadata/querying-metadata
    """
    host = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    query = f"?wait_for_change=true&last_etag={last_etag or 0}&timeout_sec={timeout:.0f}" if wait_for_change else ""
    request = urllib.request.Request(
        f"http://{host}/computeMetadata/v1/instance/{key}{query}", headers={"Metadata-Flavor": "Google"}
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=timeout + 10 * wait_for_change) as answer:
            return answer.read().decode().strip(), answer.headers.get("ETag", "")
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            if error.code == 404:
                return "", ""
            raise
