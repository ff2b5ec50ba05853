//! What the service answers, and what becomes of the batch.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::time::{Duration, Instant};

use support::*;
use zibrato_librato::endpoint::{Blame, Config, Endpoint, Script, Step};
use zibrato_librato::{Librato, Token};
use zibrato_worker::{Accepted, BackendError, GaugeSummary, Kind, Total, Value};

const BOTH: [&str; 2] = ["metrics", "measurements"];

#[tokio::test]
async fn every_kind_arrives_exactly() {
    for api in BOTH {
        let endpoint = endpoint();
        let mut backend = backend(&endpoint, &["--api", api]);
        let t = now();
        let mut host = timer("time", &[1_000_000_001, 2_000_000_000]);
        host.series.tags = vec![("region".into(), "eu west".into())];
        let statistics = Some((4, 10.0, 1.0, 4.5));
        let measurements = vec![
            counter("calls", 9_007_199_254_740_993),
            measurement("net", Kind::Updown, Value::Updown(Total { whole: -3, float: 0.5 })),
            host,
            measurement("size", Kind::Distribution, Value::Distribution(summary(&[10, 20]))),
            gauge("temp", 21.5),
            measurement("load", Kind::Gauge, Value::Gauge(GaugeSummary { last: 2.0, statistics })),
            point("probe", t * 1_000_000_000 - 5_000_000_000, 1.25),
            point("probe", t * 1_000_000_000 - 4_000_000_000, 2.0),
            point("probe", t * 1_000_000_000 - 2_500_000_000, 3.0),
        ];
        assert_eq!(send(&mut backend, &batch(t, measurements)).await, Ok(Accepted::All));
        assert_eq!(endpoint.violations(), Vec::<String>::new());
        assert_eq!(endpoint.total("calls", "web1").value.whole(), Some(9_007_199_254_740_993));
        assert_eq!(endpoint.total("net", "web1").value.value(), -2.5);
        assert_eq!(endpoint.total("temp", "web1").value.value(), 21.5);
        let time = endpoint.total("time", if api == "metrics" { "web1:region-eu:west" } else { "web1" });
        assert_eq!((time.count, time.sum.billionths()), (2, Some(3_000_000_001)));
        let size = endpoint.total("size", "WEB1");
        assert_eq!((size.count, size.sum.whole(), size.min, size.max), (2, Some(30), Some(10.0), Some(20.0)));
        let load = endpoint.total("load", "web1");
        assert_eq!((load.count, load.sum.whole()), (4, Some(10)));
        let probe = endpoint.total("probe", "web1");
        assert_eq!((probe.measurements, probe.count, probe.value.value()), (3, 0, 6.25));
    }
}

#[tokio::test]
async fn points_of_one_second_are_added_up() {
    let endpoint = endpoint();
    let mut backend = backend(&endpoint, &[]);
    let t = now() * 1_000_000_000;
    let points = vec![point("p", t, 2.0), point("p", t + 999_999_999, 4.0), point("p", t - 1, 8.0)];
    assert_eq!(send(&mut backend, &batch(now(), points)).await, Ok(Accepted::All));
    let total = endpoint.total("p", "web1");
    assert_eq!((total.measurements, total.count, total.sum.whole()), (2, 2, Some(6)));
    assert_eq!(total.value.whole(), Some(8));
}

#[tokio::test]
async fn requests_have_at_most_300_measurements() {
    for api in BOTH {
        let endpoint = endpoint();
        let mut backend = backend(&endpoint, &["--api", api]);
        let measurements = (0..601).map(|i| counter(&format!("m{i}"), i)).collect();
        assert_eq!(send(&mut backend, &batch(now(), measurements)).await, Ok(Accepted::All));
        let entries: Vec<usize> =
            endpoint.requests().iter().map(|r| r.body.matches("\"name\"").count()).collect();
        assert_eq!(entries, [300, 300, 1]);
        assert_eq!(endpoint.violations(), Vec::<String>::new());
        assert_eq!(endpoint.totals().len(), 601);
    }
}

#[tokio::test]
async fn empty_periods_send_nothing() {
    let endpoint = endpoint();
    let mut backend = backend(&endpoint, &[]);
    let empty = batch(now(), vec![timer("t", &[])]);
    assert_eq!(send(&mut backend, &empty).await, Ok(Accepted::All));
    assert_eq!(send(&mut backend, &batch(now(), Vec::new())).await, Ok(Accepted::All));
    assert_eq!(endpoint.received(), 0);
}

#[tokio::test]
async fn failures_keep_the_batch() {
    let cases = [
        ("401", "check the user name and the token"),
        ("403", "check the token's permissions"),
        ("404", "check the URL and --api"),
        ("301", "check the URL and --api"),
        ("415", "check the URL and --api"),
        ("500", "answered 500"),
        ("502", "answered 502"),
        ("503", "answered 503"),
        ("429", "answered 429"),
        ("408", "answered 408"),
        ("close", "no answer"),
    ];
    for (step, says) in cases {
        let endpoint = endpoint();
        endpoint.script(step.parse::<Script>().unwrap());
        let mut backend = backend(&endpoint, &[]);
        let batch = batch(now(), vec![counter("c", 7)]);
        let (why, after) = later(send(&mut backend, &batch).await);
        assert!(why.contains(says), "{step}: {why}");
        assert!(why.contains(&endpoint.url()), "{step}: {why}");
        assert_eq!(after, None, "{step}");
        assert_eq!(endpoint.total("c", "web1").measurements, 0, "{step}");
        assert_eq!(send(&mut backend, &batch).await, Ok(Accepted::All), "{step}");
        assert_eq!(endpoint.total("c", "web1").value.whole(), Some(7), "{step}");
    }
}

#[tokio::test]
async fn nobody_listening_keeps_the_batch() {
    let endpoint = endpoint();
    let mut backend = backend(&endpoint, &[]);
    drop(endpoint);
    let (why, _) = later(send(&mut backend, &batch(now(), vec![counter("c", 7)])).await);
    assert!(why.contains("no answer from http://127.0.0.1:") && why.contains("refused"), "{why}");
}

#[tokio::test]
async fn any_2xx_is_accepted() {
    for status in [200, 201, 202, 204, 207] {
        let endpoint = endpoint();
        endpoint.script([Step::Status(status)]);
        let mut backend = backend(&endpoint, &["--api", "measurements"]);
        assert_eq!(
            send(&mut backend, &batch(now(), vec![counter("c", 7)])).await,
            Ok(Accepted::All),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_and_a_very_slow_one_is_not() {
    let endpoint = endpoint();
    endpoint.script("slow:0.3,slow:60".parse::<Script>().unwrap());
    let batch = batch(now(), vec![counter("c", 7)]);
    assert_eq!(send(&mut backend(&endpoint, &[]), &batch).await, Ok(Accepted::All));
    let (why, _) = later(send(&mut backend(&endpoint, &["--timeout", "1"]), &batch).await);
    assert!(why.contains("did not answer in time"), "{why}");
}

#[tokio::test]
async fn a_lost_answer_counts_once() {
    let endpoint = endpoint();
    endpoint.script([Step::LoseAnswer]);
    let mut backend = backend(&endpoint, &[]);
    let batch = batch(now(), vec![counter("c", 7), timer("t", &[5, 6])]);
    later(send(&mut backend, &batch).await);
    assert_eq!(endpoint.total("c", "web1").value.whole(), Some(7));
    assert_eq!(send(&mut backend, &batch).await, Ok(Accepted::All));
    assert_eq!(endpoint.overwritten(), 2);
    assert_eq!(endpoint.total("c", "web1").value.whole(), Some(7));
    assert_eq!(endpoint.total("t", "web1").count, 2);
}

#[tokio::test]
async fn the_service_says_how_long_to_wait() {
    for (step, least) in [("429:40", 35), ("503:40", 35), ("403:40", 35), ("limit:60", 50)] {
        let endpoint = endpoint();
        endpoint.script(step.parse::<Script>().unwrap());
        let mut backend = backend(&endpoint, &[]);
        let batch = batch(now(), vec![counter("c", 7)]);
        let (_, after) = later(send(&mut backend, &batch).await);
        let after = after.unwrap();
        assert!(after > Duration::from_secs(least) && after <= Duration::from_secs(60), "{step}: {after:?}");
        // Who asks earlier is told the same without a request.
        let (why, again) = later(send(&mut backend, &batch).await);
        assert!(again.unwrap() <= after && why.contains("has said to wait"), "{step}: {why}");
        assert_eq!(endpoint.received(), 1, "{step}");
    }
}

#[tokio::test]
async fn a_wait_ends() {
    let endpoint = endpoint();
    endpoint.script([Step::RetryAfter(429, 1)]);
    let mut backend = backend(&endpoint, &[]);
    let batch = batch(now(), vec![counter("c", 7)]);
    let (_, after) = later(send(&mut backend, &batch).await);
    tokio::time::sleep(after.unwrap()).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while send(&mut backend, &batch).await != Ok(Accepted::All) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(endpoint.total("c", "web1").value.whole(), Some(7));
}

#[tokio::test]
async fn one_bad_measurement_takes_no_others_with_it() {
    for api in BOTH {
        for blame in [Blame::Entry, Blame::Name, Blame::Parameter] {
            let endpoint = Endpoint::start(Config { blame, ..Config::default() }).unwrap();
            endpoint.poison("m123");
            endpoint.poison("m299");
            let mut backend = backend(&endpoint, &["--api", api]);
            let measurements = (0..300).map(|i| counter(&format!("m{i}"), i)).collect();
            let accepted = send(&mut backend, &batch(now(), measurements)).await.unwrap();
            let Accepted::Partly { refused, retry } = accepted else { panic!("all accepted") };
            assert_eq!(refused.iter().map(|r| r.0).collect::<Vec<_>>(), [123, 299], "{api} {blame:?}");
            assert!(
                refused[0].1.contains("is a counter, but was submitted as different type"),
                "{refused:?}"
            );
            assert_eq!(retry, Vec::<usize>::new());
            assert_eq!(endpoint.totals().len(), 298);
            assert_eq!(endpoint.total("m298", "web1").value.whole(), Some(298));
            let most = if blame == Blame::Parameter { 40 } else { 4 };
            assert!(endpoint.received() <= most, "{blame:?}: {} requests", endpoint.received());
        }
    }
}

#[tokio::test]
async fn a_partial_acceptance_is_taken_apart() {
    let endpoint = Endpoint::start(Config { partial: true, ..Config::default() }).unwrap();
    endpoint.poison("m5");
    let mut backend = backend(&endpoint, &["--api", "measurements"]);
    let measurements = (0..20).map(|i| counter(&format!("m{i}"), i)).collect();
    let accepted = send(&mut backend, &batch(now(), measurements)).await.unwrap();
    let Accepted::Partly { refused, retry } = accepted else { panic!("all accepted") };
    assert_eq!((refused.len(), refused[0].0, retry.len()), (1, 5, 0));
    assert!(refused[0].1.contains("answered 207"), "{refused:?}");
    assert_eq!(endpoint.totals().len(), 19);
}

#[tokio::test]
async fn a_blame_that_does_not_hold_loses_nothing() {
    let endpoint = endpoint();
    endpoint.script([Step::Blame(3)]);
    let mut backend = backend(&endpoint, &[]);
    let measurements = (0..10).map(|i| counter(&format!("m{i}"), i)).collect();
    assert_eq!(send(&mut backend, &batch(now(), measurements)).await, Ok(Accepted::All));
    assert_eq!(endpoint.totals().len(), 10);
}

#[tokio::test]
async fn all_bad_ends_after_few_requests_a_call() {
    let endpoint = Endpoint::start(Config { blame: Blame::Parameter, ..Config::default() }).unwrap();
    (0..300).for_each(|i| endpoint.poison(&format!("m{i}")));
    let mut backend = backend(&endpoint, &[]);
    let mut rest = batch(now(), (0..300).map(|i| counter(&format!("m{i}"), i)).collect());
    let mut refusals = 0;
    while !rest.measurements.is_empty() {
        let before = endpoint.received();
        let Ok(Accepted::Partly { refused, retry }) = send(&mut backend, &rest).await else {
            panic!("no progress")
        };
        assert!(endpoint.received() - before <= 100);
        assert!(!refused.is_empty());
        assert_eq!(refused.len() + retry.len(), rest.measurements.len());
        refusals += refused.len();
        rest.measurements = retry.iter().map(|&i| rest.measurements[i].clone()).collect();
    }
    assert_eq!(refusals, 300);
}

#[tokio::test]
async fn what_is_too_old_is_refused_together() {
    for blame in [Blame::Entry, Blame::Parameter] {
        let endpoint = Endpoint::start(Config { blame, ..Config::default() }).unwrap();
        let mut backend = backend(&endpoint, &[]);
        let old = now() - 10_000;
        let measurements = (0..50).map(|i| counter(&format!("m{i}"), i)).collect();
        let mut batch = batch(old, measurements);
        batch.measurements.push(point("fresh", now() * 1_000_000_000, 1.0));
        let Ok(Accepted::Partly { refused, retry }) = send(&mut backend, &batch).await else {
            panic!("accepted")
        };
        assert_eq!((refused.len(), retry.len()), (50, 0), "{blame:?}");
        assert!(refused[0].1.contains("too far in the past"), "{refused:?}");
        assert_eq!(endpoint.total("fresh", "web1").value.whole(), Some(1));
        if blame == Blame::Parameter {
            assert_eq!(endpoint.received(), 3);
        }
    }
}

#[tokio::test]
async fn trouble_half_way_keeps_what_is_left() {
    let endpoint = endpoint();
    endpoint.script("ok,503".parse::<Script>().unwrap());
    let mut backend = backend(&endpoint, &[]);
    let measurements = (0..400).map(|i| counter(&format!("m{i}"), i)).collect();
    let Ok(Accepted::Partly { refused, retry }) = send(&mut backend, &batch(now(), measurements)).await
    else {
        panic!("all accepted")
    };
    assert_eq!(refused, Vec::new());
    assert_eq!(retry, (300..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_the_service_cannot_take_is_refused_before() {
    let endpoint = endpoint();
    let mut backend = backend(&endpoint, &[]);
    let bad = [f64::NAN, f64::INFINITY, 1e127];
    let mut measurements: Vec<_> = bad.iter().enumerate().map(|(i, &v)| gauge(&format!("g{i}"), v)).collect();
    measurements.push(counter("good", 1));
    let Ok(Accepted::Partly { refused, retry }) = send(&mut backend, &batch(now(), measurements)).await
    else {
        panic!("all accepted")
    };
    assert_eq!((refused.len(), retry.len()), (3, 0));
    assert!(refused[0].1.contains("not a finite number"));
    assert_eq!(endpoint.received(), 1);
    assert_eq!(endpoint.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn two_kinds_of_one_name_never_overwrite_each_other() {
    let endpoint = endpoint();
    let mut one = backend(&endpoint, &[]);
    let t = now();
    let Ok(Accepted::Partly { refused, .. }) =
        send(&mut one, &batch(t, vec![counter("f", 2), timer("f", &[9])])).await
    else {
        panic!("all accepted")
    };
    assert_eq!(refused[0].0, 1);
    assert!(refused[0].1.contains("--kind-suffix"), "{refused:?}");
    // In another request of the same time just as well; the same kind again is a repeat.
    let Ok(Accepted::Partly { refused, .. }) = send(&mut one, &batch(t, vec![timer("f", &[9])])).await else {
        panic!("all accepted")
    };
    assert_eq!(refused.len(), 1);
    assert_eq!(send(&mut one, &batch(t, vec![counter("f", 2)])).await, Ok(Accepted::All));
    assert_eq!(endpoint.total("f", "web1").value.whole(), Some(2));

    let mut other = backend(&endpoint, &["--kind-suffix"]);
    let both = batch(t, vec![counter("f", 2), timer("f", &[9])]);
    assert_eq!(send(&mut other, &both).await, Ok(Accepted::All));
    assert_eq!(endpoint.total("f.counter", "web1").value.whole(), Some(2));
    assert_eq!(endpoint.total("f.timer", "web1").count, 1);
}

#[tokio::test]
async fn wrong_credentials_wait_for_right_ones() {
    let endpoint = endpoint();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "wrong-token\n").unwrap();
    let url = endpoint.url();
    let arguments = ["--url", &url, "--username", USER, "--token-file", file.to_str().unwrap()];
    let mut backend = Librato::new(options(&arguments), Duration::from_secs(1)).unwrap();
    let batch = batch(now(), vec![counter("c", 7)]);
    let (why, _) = later(send(&mut backend, &batch).await);
    assert!(why.contains("answered 401") && !why.contains("wrong-token"), "{why}");
    std::fs::write(&file, TOKEN).unwrap();
    assert_eq!(send(&mut backend, &batch).await, Ok(Accepted::All));
    std::fs::remove_file(&file).unwrap();
    let (why, _) = later(send(&mut backend, &batch).await);
    assert!(why.contains("failed to read the token file"), "{why}");
}

#[tokio::test]
async fn requests_look_as_documented() {
    let endpoint = endpoint();
    let mut backend = backend(&endpoint, &[]);
    send(&mut backend, &batch(now(), vec![counter("c", 7)])).await.unwrap();
    let request = &endpoint.requests()[0];
    let header = |name: &str| request.headers.iter().find(|h| h.0 == name).map(|h| h.1.as_str());
    assert_eq!(request.path, "/v1/metrics");
    assert_eq!(header("authorization"), Some("Basic bWVAZXhhbXBsZS5jb206dG9r"));
    assert_eq!(header("content-type"), Some("application/json"));
    assert!(header("user-agent").unwrap().starts_with("zibrato/"));
    assert_eq!(
        request.body,
        format!(
            r#"{{"gauges":[{{"name":"c","source":"web1","measure_time":{},"period":10,"value":7}}]}}"#,
            now_of(request)
        )
    );
}

fn now_of(request: &zibrato_librato::endpoint::Request) -> u64 {
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    body["gauges"][0]["measure_time"].as_u64().unwrap()
}

#[tokio::test]
async fn secrets_stay_secret() {
    let endpoint = endpoint();
    let url = endpoint.url();
    let secret = "s3cr3t-t0ken";
    let arguments = ["--url", url.as_str(), "--username", USER];
    let mut backend = Librato::with_token(options(&arguments), Duration::from_secs(1), Token::new(secret));
    let encoded = "bWVAZXhhbXBsZS5jb206czNjcjN0LXQwa2Vu";
    let batch = batch(now(), vec![counter("c", 7)]);
    let (why, _) = later(send(&mut backend, &batch).await);
    let rendered = zibrato_worker::Backend::render(&backend, &batch);
    for text in
        [format!("{backend:?}"), format!("{backend:#?}"), why, rendered, format!("{:?}", Token::new(secret))]
    {
        assert!(!text.contains(secret) && !text.contains(encoded), "{text}");
    }
}

#[tokio::test]
async fn without_credentials_it_says_what_is_missing() {
    let endpoint = endpoint();
    let url = endpoint.url();
    let mut backend =
        Librato::with_token(options(&["--url", &url]), Duration::from_secs(1), Token::new(TOKEN));
    assert!(backend.check_credentials().is_err());
    let result = send(&mut backend, &batch(now(), vec![counter("c", 7)])).await;
    let Err(BackendError::Retry { why, .. }) = result else { panic!("sent") };
    assert!(why.contains("--username"), "{why}");
}
