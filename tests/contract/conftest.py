from __future__ import annotations

from tests.realtier import kube

__all__ = ["kube"]
