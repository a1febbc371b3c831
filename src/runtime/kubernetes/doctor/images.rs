//! Which images the cluster's nodes would pull. Whether they can, only they know.

use std::collections::BTreeSet;

use super::Planned;
use crate::doctor::Verdict;
use crate::manifest::images::in_full;

/// Names the images in full, so that their registries show.
pub(super) fn check(planned: &Planned<'_>) -> Option<Verdict> {
    let specs = planned.discovery.workloads.iter().map(|workload| &workload.spec);
    let containers = specs.clone().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let volumes = specs.flat_map(|spec| spec.volumes.iter().flatten());
    let of_volumes = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
    let images: BTreeSet<String> = containers.filter_map(|container| container.image.as_deref()).chain(of_volumes).map(in_full).collect();
    let names: Vec<String> = images.into_iter().collect();
    (!names.is_empty()).then(|| Verdict::ok("images", format!("the nodes would pull {}", names.join(", "))))
}
