"""The Kubernetes side: watches PreprovisioningImages, requests their images, writes their status.

Knows the Kubernetes API and Metal3's contract; knows nothing of HTTP serving, of ISOs or of
Ignition: an image is requested from `mic.kube.builds.ImageProvider` and returned as URLs.
"""
