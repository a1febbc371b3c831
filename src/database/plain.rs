//! A container of which only the image and plain variables are known, as compose files and CI services have them.

use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};

use super::variables::{Data, Variables};
use super::{Engine, Login, login};
use crate::engine::{self, Vendor};

/// A database server's container.
#[derive(Debug)]
pub struct Plain {
    /// The engine in the image.
    pub engine: Engine,
    /// Whether the image is Bitnami's, which reads other variables than the official ones.
    pub is_bitnami: bool,
    /// The tests' login, or what the image would complain about.
    pub login: anyhow::Result<Login>,
}

/// Reads a container's login as its image does; `None` if the image's name tells no database.
pub fn read(image: &str, variables: &[(String, String)]) -> Option<Plain> {
    let (engine, vendor) = engine::identify(image);
    let engine = engine?;
    let env = variables.iter().map(|(name, value)| EnvVar { name: name.clone(), value: Some(value.clone()), value_from: None });
    let container = Container { env: Some(env.collect()), ..Container::default() };
    let (spec, data) = (PodSpec::default(), Data::default());
    let logins = login::read(engine, vendor, &mut Variables::new(&spec, &container, &data));
    Some(Plain { engine, is_bitnami: vendor == Vendor::Bitnami, login: logins.map(|logins| logins.tests) })
}
