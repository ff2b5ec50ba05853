//! The CPU time of a publisher's thread that has nothing new to say.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use zibrato_broker::{Broker, Config};

use super::tell;
use crate::sites::names;

/// Where nobody listens.
pub(super) fn absent(quick: bool) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map(|a| a.port());
    match port {
        Ok(port) => publish("idle.absent", port, quick),
        Err(why) => eprintln!("failed to find a free port: {why}"),
    }
}

/// With a broker in this process, on threads of its own.
pub(super) fn present(quick: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("broker")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(why) => return eprintln!("failed to start a runtime: {why}"),
    };
    match runtime.block_on(Broker::bind(Config { port: 0, ..Config::default() })) {
        Ok(broker) => {
            let port = broker.addresses().port;
            runtime.spawn(broker.run(std::future::pending()));
            publish("idle.present", port, quick);
        }
        Err(why) => eprintln!("failed to start a broker: {why}"),
    }
    runtime.shutdown_background();
}

fn publish(key: &str, port: u16, quick: bool) {
    let installed = zibrato::builder()
        .without_environment()
        .broker(format!("tcp://127.0.0.1:{port}"))
        .deadline(Duration::from_millis(100))
        .install();
    let guard = match installed {
        Ok(guard) => guard,
        Err(why) => return eprintln!("failed to {why}"),
    };
    names("idle", 100).iter().for_each(|name| zibrato::counter(name).handle().add(1));
    // The first frames and the connection are over by then.
    std::thread::sleep(Duration::from_secs(3));
    let (start, before) = (Instant::now(), cpu_seconds());
    std::thread::sleep(Duration::from_secs(if quick { 10 } else { 30 }));
    if let (Some(before), Some(after)) = (before, cpu_seconds()) {
        tell(key, 100.0 * (after - before) / start.elapsed().as_secs_f64());
    } else {
        eprintln!("failed to find the publisher's thread under /proc");
    }
    drop(guard);
}

/// The CPU time so far of the publisher's thread.
fn cpu_seconds() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let own = tasks
        .flatten()
        .map(|task| task.path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "zibrato"))?;
    let nanos = std::fs::read_to_string(own.join("schedstat")).ok()?;
    Some(nanos.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}
