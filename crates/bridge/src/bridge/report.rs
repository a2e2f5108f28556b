//! What a bridge counted, and what it left where.

use std::{fmt, time::Duration};

use crate::{
    inbound::SubscriberReport,
    outbound::PublisherReport,
    telemetry::{ReceiveCounts, SendCounts},
};

/// The specification's counts, both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The way out.
    pub send: SendCounts,
    /// The way in.
    pub receive: ReceiveCounts,
}

/// What an orderly stop left where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// What the way in left, where there was one.
    pub subscriber: Option<SubscriberReport>,
    /// What the way out left.
    pub publisher: PublisherReport,
    /// Dead letters that were on their way at the deadline.
    pub dead_letters_abandoned: usize,
    /// How long it took.
    pub took: Duration,
}

impl StopReport {
    /// Whether nothing was left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.subscriber
            .as_ref()
            .is_none_or(SubscriberReport::is_clean)
            && self.publisher.abandoned == 0
            && self.dead_letters_abandoned == 0
    }
}

/// What was left where, in one line for people.
impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped in {:.1} s", self.took.as_secs_f64())?;
        if let Some(subscriber) = &self.subscriber {
            let said = |holds: bool| if holds { "" } else { "not " };
            write!(
                f,
                "; offsets {}committed, group {}left",
                said(subscriber.committed),
                said(subscriber.left_group)
            )?;
            for left in &subscriber.left {
                write!(
                    f,
                    "; {} unfinished in {}, read again from offset {}",
                    left.unfinished, left.partition, left.watermark
                )?;
            }
        }
        let publisher = &self.publisher;
        write!(
            f,
            "; while closing {} sent, {} to the outbox, {} not sent, {} of them on their way",
            publisher.logged, publisher.spooled, publisher.failed, publisher.abandoned
        )?;
        write!(
            f,
            "; {} dead letters abandoned",
            self.dead_letters_abandoned
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbound::{LeftBehind, TopicPartition};

    fn report() -> StopReport {
        StopReport {
            subscriber: Some(SubscriberReport {
                left: vec![LeftBehind {
                    partition: TopicPartition::new("ai.anomalies.v1", 2),
                    watermark: 41,
                    unfinished: 3,
                }],
                committed: true,
                left_group: false,
            }),
            publisher: PublisherReport {
                logged: 7,
                spooled: 3,
                failed: 2,
                abandoned: 1,
            },
            dead_letters_abandoned: 0,
            took: Duration::from_millis(1_240),
        }
    }

    #[test]
    fn a_report_says_in_one_line_what_was_left_where() {
        assert_eq!(
            report().to_string(),
            "stopped in 1.2 s; offsets committed, group not left; 3 unfinished in \
             ai.anomalies.v1/2, read again from offset 41; while closing 7 sent, 3 to the outbox, 2 not sent, \
             1 of them on their way; 0 dead letters abandoned"
        );
    }

    #[test]
    fn it_is_clean_when_nothing_at_all_was_left() {
        let clean = || StopReport {
            subscriber: Some(SubscriberReport {
                left: Vec::new(),
                committed: true,
                left_group: true,
            }),
            publisher: PublisherReport {
                logged: 7,
                spooled: 3,
                failed: 2,
                abandoned: 0,
            },
            ..report()
        };
        assert!(clean().is_clean());
        let sender = StopReport {
            subscriber: None,
            ..clean()
        };
        assert!(sender.is_clean());
        let spoils: [fn(&mut StopReport); 5] = [
            |report| report.publisher.abandoned = 1,
            |report| report.dead_letters_abandoned = 1,
            |report| report.subscriber.as_mut().unwrap().committed = false,
            |report| report.subscriber.as_mut().unwrap().left_group = false,
            |report| report.subscriber = self::report().subscriber,
        ];
        for (number, spoil) in spoils.into_iter().enumerate() {
            let mut report = clean();
            spoil(&mut report);
            assert!(!report.is_clean(), "{number}: {report}");
        }
    }
}
