"""The built-in scheduler plugins: the one list of them, in the order in which they are asked.

Each has a folder. The names and weights are upstream's; cheap refusals come before dear ones.
"""

from __future__ import annotations

from kube_core.scheduler.framework import PluginSpec
from kube_plugins.scheduler.defaultbinder import DefaultBinder
from kube_plugins.scheduler.defaultpreemption import DefaultPreemption
from kube_plugins.scheduler.imagelocality import ImageLocality
from kube_plugins.scheduler.interpodaffinity import InterPodAffinity
from kube_plugins.scheduler.nodeaffinity import NodeAffinity
from kube_plugins.scheduler.nodename import NodeName
from kube_plugins.scheduler.nodeports import NodePorts
from kube_plugins.scheduler.noderesources import BalancedAllocation, Fit
from kube_plugins.scheduler.nodeunschedulable import NodeUnschedulable
from kube_plugins.scheduler.nodevolumelimits import NodeVolumeLimits
from kube_plugins.scheduler.podtopologyspread import PodTopologySpread
from kube_plugins.scheduler.schedulinggates import SchedulingGates
from kube_plugins.scheduler.tainttoleration import TaintToleration
from kube_plugins.scheduler.volumebinding import VolumeBinding
from kube_plugins.scheduler.volumerestrictions import VolumeRestrictions
from kube_plugins.scheduler.volumezone import VolumeZone

__all__ = ["BUILT_IN"]

BUILT_IN: tuple[PluginSpec, ...] = (
    PluginSpec(SchedulingGates.name, SchedulingGates),
    PluginSpec(NodeUnschedulable.name, NodeUnschedulable),
    PluginSpec(NodeName.name, NodeName),
    PluginSpec(TaintToleration.name, TaintToleration, weight=3),
    PluginSpec(NodeAffinity.name, NodeAffinity, weight=2),
    PluginSpec(NodePorts.name, NodePorts),
    PluginSpec(Fit.name, Fit, weight=1),
    PluginSpec(VolumeRestrictions.name, VolumeRestrictions),
    PluginSpec(NodeVolumeLimits.name, NodeVolumeLimits),
    PluginSpec(VolumeBinding.name, VolumeBinding),
    PluginSpec(VolumeZone.name, VolumeZone),
    PluginSpec(PodTopologySpread.name, PodTopologySpread, weight=2),
    PluginSpec(InterPodAffinity.name, InterPodAffinity, weight=2),
    PluginSpec(BalancedAllocation.name, BalancedAllocation, weight=1),
    PluginSpec(ImageLocality.name, ImageLocality, weight=1),
    PluginSpec(DefaultPreemption.name, DefaultPreemption),
    PluginSpec(DefaultBinder.name, DefaultBinder),
)
