//! `zibrato info`: ask a broker about itself.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::timeout;
use zibrato_core::ask::Message;
use zibrato_transport::{Asker, Broker};

use crate::broker_option::{BrokerOption, seconds};
use crate::failure::{FAILED, Failure, complain};
use crate::output::{DIM, HEADING, Output, styled};
use crate::table::{Column, Table};
use crate::{number, output};

/// How long to wait before the question is asked again.
const AGAIN: Duration = Duration::from_millis(500);

const AFTER_HELP: &str = "\
Examples:
  zibrato info
  zibrato info --broker tcp://a.example.org,tcp://b.example.org
  zibrato info --json | jq .instances

Exit status: 0 when every broker has answered, 1 when one has not.";

/// The options of `zibrato info`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    broker: BrokerOption,

    /// Print the broker's own JSON object, one line for each broker
    #[arg(long)]
    json: bool,

    /// How many seconds to wait for an answer
    #[arg(long, env = "ZIBRATO_DEADLINE", default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    deadline: Duration,
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let runtime = output::runtime()?;
    let brokers = options.broker.brokers()?;
    let answers = runtime
        .block_on(futures::future::join_all(brokers.iter().map(|broker| ask(broker, options.deadline))));
    let mut output = Output::new();
    let mut silent = false;
    for (broker, answer) in brokers.iter().zip(answers) {
        let json = match answer {
            Ok(json) => json,
            Err(trouble) => {
                let trouble = trouble.unwrap_or_else(|| match broker.security().is_plain() {
                    true => "get an answer; is it a broker?".into(),
                    false => "get an answer; is it a broker, and may this key receive there?".into(),
                });
                complain(&format!(
                    "failed to ask the broker at {broker} within {} s: failed to {trouble}",
                    options.deadline.as_secs_f64()
                ));
                silent = true;
                continue;
            }
        };
        let told: Map<String, Value> = serde_json::from_str(&json)
            .map_err(|why| Failure::To(format!("understand the answer of {broker}: {why}")))?;
        if options.json {
            let mut line = Map::from_iter([("broker".to_string(), Value::from(broker.to_string()))]);
            line.extend(told);
            output.line(&Value::from(line).to_string())?;
        } else {
            output.write(&summary(broker, &told))?;
        }
    }
    Ok(if silent { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// What the broker tells of itself, or why there is no connection to it, if there is none.
async fn ask(broker: &Broker, deadline: Duration) -> Result<String, Option<String>> {
    let mut asker = Asker::start(broker);
    let asking = async {
        loop {
            asker.send(Message::Info { id: 1 });
            let answer = async {
                loop {
                    if let Message::Told { id: 1, json } = asker.recv().await {
                        return json;
                    }
                }
            };
            if let Ok(json) = timeout(AGAIN, answer).await {
                return json;
            }
        }
    };
    let answer = timeout(deadline, asking).await;
    answer.map_err(|_| asker.trouble())
}

fn summary(broker: &Broker, told: &Map<String, Value>) -> String {
    let count = |key: &str| number::count(told.get(key).and_then(Value::as_u64).unwrap_or(0) as f64);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_string();
    let durable = told.get("durable").and_then(Value::as_bool) == Some(true);
    let uptime = told.get("uptime_s").and_then(Value::as_f64).unwrap_or(0.0);
    let mut out = format!(
        "{}  version {}, up {}, {}\n",
        styled(HEADING, &broker.to_string()),
        text(told.get("version")),
        number::span(uptime),
        if durable { "keeps state on disk" } else { "keeps state in memory only" }
    );
    out += &format!(
        "  {} programs, {} frames in, {} out, {} dropped, {} B kept\n",
        count("instances"),
        count("frames_in"),
        count("frames_out"),
        count("frames_dropped"),
        count("kept_bytes"),
    );
    if let Some(refused) = told.get("rejected").and_then(Value::as_object).filter(|r| !r.is_empty()) {
        let each: Vec<String> = refused.iter().map(|(why, n)| format!("{n} {why}")).collect();
        out += &format!("  refused: {}\n", each.join(", "));
    }
    let items = |key: &str| told.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut levels = Table::new([
        Column::left("LEVEL"),
        Column::right("PROGRAMS"),
        Column::right("FRAMES"),
        Column::right("BYTES"),
    ]);
    for (level, of) in told.get("levels").and_then(Value::as_object).into_iter().flatten() {
        let figure = |key: &str| number::count(of.get(key).and_then(Value::as_u64).unwrap_or(0) as f64);
        levels.row([level.clone(), figure("instances"), figure("frames"), figure("bytes")]);
    }
    let mut programs = Table::new([
        Column::left("SOURCE"),
        Column::left("LEVEL"),
        Column::left("INSTANCE"),
        Column::right("FRAMES"),
        Column::right("HEARD"),
        Column::left("STATE"),
    ]);
    for of in items("publishers") {
        let is = |key: &str| of.get(key).and_then(Value::as_bool) == Some(true);
        let state = match () {
            () if is("ended") => "ended",
            () if is("silent") => "silent",
            () => "measures",
        };
        let quiet = of.get("quiet_s").and_then(Value::as_f64).unwrap_or(0.0);
        programs.row([
            text(of.get("source")),
            text(of.get("level")),
            text(of.get("instance")).chars().take(8).collect(),
            number::count(of.get("frames").and_then(Value::as_u64).unwrap_or(0) as f64),
            format!("{} ago", number::span(quiet)),
            state.into(),
        ]);
    }
    for (empty, text) in
        [(levels.is_empty(), levels.render(None)), (programs.is_empty(), programs.render(None))]
    {
        if !empty {
            out += &format!("\n{text}");
        }
    }
    if told.get("publishers").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        out += &styled(DIM, "  nothing measures yet\n");
    }
    out
}
