"""A small kube-apiserver in memory: objects, their checks, patches and watches."""
