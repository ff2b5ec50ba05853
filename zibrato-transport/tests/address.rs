//! Broker addresses.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

use zibrato_transport::{Broker, parse_brokers};

fn broker(text: &str) -> Broker {
    text.parse().unwrap()
}

#[test]
fn has_three_addresses_and_a_default_port() {
    let b = broker("tcp://Example.org");
    assert_eq!((b.host.as_str(), b.port), ("example.org", 5550));
    assert_eq!(b.push_address(), "tcp://example.org:5550");
    assert_eq!(b.sub_address(), "tcp://example.org:5551");
    assert_eq!(b.ask_address(), "tcp://example.org:5552");
    assert_eq!(broker("tcp://10.0.0.1:7000/").to_string(), "tcp://10.0.0.1:7000");
}

#[test]
fn takes_ipv6_in_brackets() {
    assert_eq!(broker("tcp://[fe80::1]:99"), Broker::new("fe80::1", 99));
    assert_eq!(broker("tcp://[::1]").ask_address(), "tcp://[::1]:5552");
    assert_eq!(broker(&broker("tcp://[::1]:1").to_string()), broker("tcp://[::1]:1"));
}

#[test]
fn says_what_is_wrong() {
    for bad in [
        "",
        "localhost",
        "localhost:5550",
        "udp://localhost",
        "tcp://",
        "tcp://:5550",
        "tcp://host:",
        "tcp://host:x",
        "tcp://host:+1",
        "tcp://host:0",
        "tcp://host:65534",
        "tcp://host:99999999",
        "tcp://fe80::1",
        "tcp://[fe80::1",
        "tcp://[nonsense]:1",
        "tcp://[::1]x",
        "tcp://*:5550",
        "tcp://user@host",
        "tcp://ho st",
        "tcp://host/path",
    ] {
        let error = bad.parse::<Broker>().unwrap_err().to_string();
        assert!(error.starts_with("read broker ") && error.contains(&format!("{bad:?}")), "{error}");
    }
}

#[test]
fn lists_name_each_broker_once() {
    let two = parse_brokers(" tcp://a , tcp://b:1,").unwrap();
    assert_eq!(two, [broker("tcp://a:5550"), broker("tcp://b:1")]);
    for bad in ["", " , ", "tcp://a,tcp://A:5550", "tcp://a,b"] {
        assert!(parse_brokers(bad).is_err(), "{bad:?}");
    }
}
