//! What the process itself uses, with a real broker at the other end.
#![cfg(unix)]
#![allow(unsafe_code, reason = "fork is unsafe to call")]

mod support;

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{TestBroker, wait_until};
use zibrato::builder;
use zibrato_core::frame::{Key, State};

/// There is one publisher in a process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One for all instances of this process, because CPU time is counted once, in whichever instance comes first.
fn broker() -> &'static TestBroker {
    static BROKER: OnceLock<TestBroker> = OnceLock::new();
    BROKER.get_or_init(TestBroker::start)
}

fn burn(time: Duration) {
    let start = cpu();
    while cpu() - start < time.as_secs_f64() {
        std::hint::black_box((0..10_000).sum::<u64>());
    }
}

/// User and system time of this process, in seconds.
fn cpu() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let usage = usage.expect("a process may ask for its own usage");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|t| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6)
        .sum()
}

fn cpu_time(kept: &[(Key, State)]) -> f64 {
    let total = |(key, state): &(Key, State)| match state {
        State::Total(total) if &*key.name == "process.cpu.time" => {
            assert!(matches!(key.tags.get("cpu.mode"), Some("user" | "system")));
            assert!(total.value() >= 0.0, "{key:?} fell to {total}");
            total.value()
        }
        _ => 0.0,
    };
    kept.iter().map(total).sum()
}

fn gauge(kept: &[(Key, State)], name: &str) -> Option<f64> {
    kept.iter().find_map(|(key, state)| match state {
        State::Gauge(gauge) if &*key.name == name => Some(gauge.value),
        _ => None,
    })
}

#[test]
fn cpu_time_of_all_instances_is_that_of_the_process() {
    let _turn = turn();
    let broker = broker();
    burn(Duration::from_millis(50));
    let mut before = 0.0;
    for _ in 0..3 {
        before = cpu();
        let guard = builder()
            .broker(&broker.url)
            .interval(Duration::from_millis(20))
            .process_metrics(true)
            .without_environment()
            .install()
            .unwrap();
        // Whoever asks twice counts nothing twice.
        let again = zibrato::process::report();
        burn(Duration::from_millis(50));
        assert!(guard.finish());
        drop(again);
        // Between instances, too.
        burn(Duration::from_millis(20));
    }
    let counted = cpu_time(&broker.kept());
    assert!(before <= counted && counted <= cpu(), "{before} <= {counted} <= {}", cpu());
}

#[test]
fn memory_descriptors_and_threads_are_what_they_are() {
    let _turn = turn();
    let broker = broker();
    let guard = builder()
        .broker(&broker.url)
        .interval(Duration::from_millis(20))
        .process_metrics(true)
        .without_environment()
        .install()
        .unwrap();
    wait_until("the metrics arrive", || {
        gauge(&broker.kept(), "process.unix.file_descriptor.limit").is_some()
    });
    let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(gauge(&broker.kept(), "process.unix.file_descriptor.limit"), Some(soft as f64));
    if cfg!(target_os = "linux") {
        let kept = broker.kept();
        let value = |name: &str| gauge(&kept, name).unwrap_or_else(|| panic!("there is no {name}"));
        let (resident, mapped) = (value("process.memory.usage"), value("process.memory.virtual"));
        assert!(resident > 1e6 && mapped >= resident, "{resident} of {mapped} bytes");
        assert!(value("process.thread.count") >= 2.0);
        let age =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - value("process.start_time");
        assert!((-2.0..3600.0).contains(&age), "the process began {age} seconds ago");
        // Far more than what comes and goes by itself.
        let open = value("process.unix.file_descriptor.count");
        assert!((3.0..soft as f64).contains(&open));
        let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        wait_until("open files are seen", || {
            gauge(&broker.kept(), "process.unix.file_descriptor.count").is_some_and(|now| now >= open + 150.0)
        });
        drop(files);
        let memory = vec![1_u8; 256 << 20];
        wait_until("memory in use is seen", || {
            gauge(&broker.kept(), "process.memory.usage")
                .is_some_and(|now| now >= resident + (200 << 20) as f64)
        });
        drop(memory);
        let kept = broker.kept();
        let described = kept.iter().find_map(|(key, state)| match state {
            State::Description(d) if &*key.name == "process.memory.usage" => Some(d.unit.clone()),
            _ => None,
        });
        assert_eq!(described.as_deref(), Some("By"));
    }
    drop(guard);
}

#[test]
fn a_forked_child_counts_its_own_cpu_time() {
    let _turn = turn();
    let broker = broker();
    let install = || builder().broker(&broker.url).process_metrics(true).without_environment().install();
    let guard = install().unwrap();
    burn(Duration::from_millis(500));
    let of_parent = cpu();
    let of_child = TestBroker::start();
    // SAFETY: the child only measures, installs and exits; the registry is made fit for that by fork handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let own = builder().broker(&of_child.url).process_metrics(true).without_environment().install();
        burn(Duration::from_millis(30));
        let ok = own.is_ok_and(zibrato::Guard::finish);
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child just made.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child installs and ends");
    let used = cpu_time(&of_child.kept());
    assert!(0.03 <= used && used < of_parent, "the child has used {used} s, its parent {of_parent} s");
    drop(guard);
}
