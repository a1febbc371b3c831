//! The image that `make image` has built: what is in it, what it says about itself, and how fast it starts in
//! a root folder of its own. No cluster is needed, nor a container engine. `make test` builds the image
//! before; its pods are in `tests/kubernetes/image.rs`.

#[path = "../support/mod.rs"]
mod support;

mod unpacked;

mod arguments;
mod content;
mod description;
mod startup;
