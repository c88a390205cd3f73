"""The Kubernetes side: watches PreprovisioningImages, asks for their images, writes their status.

Knows the Kubernetes API and Metal3's contract; knows nothing of HTTP serving, of ISOs or of
Ignition: an image is asked for through `mic.kube.images.ImageProvider` and comes back as URLs.
"""
