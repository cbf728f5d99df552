//! The demo catalogue: what `rollcall dev` and demo services of their own register, read from `demo/catalogue.toml`.
//!
//! The file is compiled in, so reading it cannot fail at a person's desk without failing in the tests first.

use std::collections::BTreeMap;

use rollcall_api::{Registration, ServiceDefinition, decode};
use serde::Deserialize;
use serde_json::Value;

use crate::demo_service::Kind;

const CATALOGUE: &str = include_str!("../../demo/catalogue.toml");
/// The port that the file counts from.
pub(crate) const PORT_BASE: u16 = 7500;
/// The host that the file names everywhere.
const LOOPBACK: &str = "127.0.0.1";

/// A service to define, with the instances to start and register.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DemoService {
    /// Its name.
    pub(crate) name: String,
    /// Its definition.
    pub(crate) definition: ServiceDefinition,
    /// Its configuration document, if it has one.
    pub(crate) config: Option<Value>,
    /// Its instances.
    pub(crate) instances: Vec<DemoInstance>,
}

/// An instance to start and register.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DemoInstance {
    /// Id within its service.
    pub(crate) id: String,
    /// What its process does.
    pub(crate) kind: Kind,
    /// Where its process listens on loopback.
    pub(crate) port: u16,
    /// Whether it falls ill, to show what health is good for.
    pub(crate) degrades: bool,
    /// What is registered.
    pub(crate) registration: Registration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    service: Vec<FileService>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileService {
    name: String,
    kind: Kind,
    /// Id of the instance that falls ill.
    degrades: Option<String>,
    definition: Value,
    config: Option<Value>,
    instances: BTreeMap<String, Value>,
}

/// The catalogue with its ports moved to count from `port_base`.
///
/// # Errors
/// In words, when the file is not a catalogue or a port would leave the range.
pub(crate) fn load(port_base: u16) -> Result<Vec<DemoService>, String> {
    let file: File = toml::from_str(CATALOGUE).map_err(|error| error.to_string())?;
    file.service.into_iter().map(|service| read_service(service, port_base)).collect()
}

/// The service that the instance `id` belongs to, with the instance registered at `host` and `port` instead of on loopback.
///
/// # Errors
/// In words, when the catalogue does not hold the instance.
pub(crate) fn at(id: &str, host: &str, port: u16) -> Result<(DemoService, Registration), String> {
    let services = load(PORT_BASE)?;
    let service = services.into_iter().find(|service| service.instances.iter().any(|instance| instance.id == id));
    let service = service.ok_or_else(|| format!("the demo catalogue has no instance {id:?}"))?;
    let instance = service.instances.iter().find(|instance| instance.id == id).ok_or("no such instance")?;
    let written = instance.port.into();
    let mut registration = serde_json::to_value(&instance.registration).map_err(|error| error.to_string())?;
    move_address(&mut registration, written, host, port);
    let registration = decode::from_value(registration).map_err(|error| error.to_string())?;
    Ok((service, registration))
}

fn read_service(service: FileService, port_base: u16) -> Result<DemoService, String> {
    let definition = decode::from_value(service.definition).map_err(|error| format!("{}: {error}", service.name))?;
    let instances = service.instances.into_iter().map(|(id, registration)| {
        let degrades = service.degrades.as_ref() == Some(&id);
        read_instance(&id, service.kind, degrades, registration, port_base)
            .map_err(|problem| format!("{id}: {problem}"))
    });
    let instances = instances.collect::<Result<_, _>>()?;
    Ok(DemoService { name: service.name, definition, config: service.config, instances })
}

fn read_instance(
    id: &str,
    kind: Kind,
    degrades: bool,
    mut registration: Value,
    port_base: u16,
) -> Result<DemoInstance, String> {
    let written = registration.pointer("/endpoints/0/port").and_then(Value::as_u64).ok_or("no port")?;
    let port = u16::try_from(written)
        .ok()
        .and_then(|written| written.checked_sub(PORT_BASE)?.checked_add(port_base))
        .ok_or_else(|| format!("port {written} cannot be moved to count from {port_base}"))?;
    move_address(&mut registration, written, LOOPBACK, port);
    let registration = decode::from_value(registration).map_err(|error| error.to_string())?;
    Ok(DemoInstance { id: id.to_owned(), kind, port, degrades, registration })
}

/// Writes `host` and `port` wherever the registration says loopback and `written`: in endpoints, within the URLs of checks.
fn move_address(registration: &mut Value, written: u64, host: &str, port: u16) {
    let (from, to) = (format!("{LOOPBACK}:{written}/"), format!("{host}:{port}/"));
    match registration {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "port" && value.as_u64() == Some(written) {
                    *value = port.into();
                } else if name == "host" && value == LOOPBACK {
                    *value = host.into();
                } else {
                    move_address(value, written, host, port);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_address(item, written, host, port)),
        Value::String(text) => *text = text.replace(&from, &to),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_catalogue_obeys_the_rules_of_the_api() {
        for service in load(PORT_BASE).unwrap() {
            assert_eq!(service.definition.into_definition().map(drop), Ok(()), "{}", service.name);
            for instance in service.instances {
                assert_eq!(instance.registration.into_spec().map(drop), Ok(()), "{}", instance.id);
            }
        }
    }

    #[test]
    fn the_catalogue_has_four_services_and_three_scrapers() {
        let catalogue = load(PORT_BASE).unwrap();
        let counts: Vec<_> = catalogue.iter().map(|service| (service.name.as_str(), service.instances.len())).collect();
        assert_eq!(
            counts,
            [
                ("data_analyst_agent", 1),
                ("web_scraper_agent", 3),
                ("content_specialist_agent", 1),
                ("orchestrator_agent", 1)
            ]
        );
    }

    #[test]
    fn one_instance_of_several_falls_ill() {
        let catalogue = load(PORT_BASE).unwrap();
        let ill: Vec<_> = catalogue.iter().flat_map(|service| &service.instances).filter(|it| it.degrades).collect();
        assert_eq!(ill.iter().map(|instance| instance.id.as_str()).collect::<Vec<_>>(), ["web-scraper-3"]);
    }

    #[test]
    fn every_required_capability_is_offered_by_another_service() {
        let catalogue = load(PORT_BASE).unwrap();
        let offered: BTreeSet<&String> =
            catalogue.iter().flat_map(|service| &service.definition.capabilities).collect();
        for service in &catalogue {
            for capability in &service.definition.required_capabilities {
                assert!(offered.contains(capability), "{} needs {capability}", service.name);
            }
        }
    }

    #[test]
    fn ports_move_together_and_stay_distinct() {
        let moved = load(17_500).unwrap();
        let instances: Vec<_> = moved.iter().flat_map(|service| &service.instances).collect();
        let ports: BTreeSet<u16> = instances.iter().map(|instance| instance.port).collect();
        assert_eq!(ports.len(), instances.len());
        for instance in instances {
            assert!((17_500..17_600).contains(&instance.port), "{}", instance.port);
            let text = serde_json::to_string(&instance.registration).unwrap();
            assert_eq!(text.matches(&instance.port.to_string()).count(), 2, "endpoint and check: {text}");
        }
    }

    #[test]
    fn an_instance_can_be_registered_elsewhere_than_on_loopback() {
        let (service, registration) = at("web-scraper-2", "scraper.example", 80).unwrap();
        assert_eq!(service.name, "web_scraper_agent");
        let text = serde_json::to_string(&registration).unwrap();
        assert!(text.contains("http://scraper.example:80/health") && !text.contains(LOOPBACK), "{text}");
        assert!(at("nobody-1", "scraper.example", 80).is_err());
    }

    #[test]
    fn a_base_port_without_room_is_refused() {
        assert!(load(65_530).is_err());
    }
}
