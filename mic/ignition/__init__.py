"""Ignition configs: what every customised image carries, as a pure function of its inputs."""

from mic.ignition.agent import Agent, VlanInterfaces
from mic.ignition.config import Host, config, lacks

__all__ = ["Agent", "Host", "VlanInterfaces", "config", "lacks"]
