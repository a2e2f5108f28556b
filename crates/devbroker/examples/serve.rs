//! Runs plaintext brokers, one or as many as `BROKERS` says, until standard input ends, for clients of any language:
//! `cargo run -p cybermesh-devbroker --example serve -- ai.anomalies.v1:3 ai.dlq:1`

#![expect(clippy::print_stdout, reason = "the address is the example's output")]

use std::error::Error;

use cybermesh_devbroker::DevBroker;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let brokers = std::env::var("BROKERS").unwrap_or_else(|_| "1".to_owned());
    let mut builder = DevBroker::builder().brokers(brokers.parse()?);
    for topic in std::env::args().skip(1) {
        let (name, partitions) = topic.split_once(':').unwrap_or((&topic, "1"));
        builder = builder.topic(name, partitions.parse()?);
    }
    let broker = builder.start().await?;
    println!("{}", broker.bootstrap());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    for topic in broker.topics() {
        println!("{topic}: {} records", broker.log(&topic).len());
    }
    broker.stop().await;
    Ok(())
}
