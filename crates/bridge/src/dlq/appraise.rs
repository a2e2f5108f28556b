//! All there is to say of one dead letter, and what a redrive would do with it.

use super::copies::is_before_order;
use super::desk::Desk;
use super::entry::{Entry, Standing};
use super::journal::{Key, Ledger};
use super::original::{self, Origin, Original, Today};
use super::plan::{self, Asked, Index, Refusal};
use super::reader::ReadError;

/// What is known of a dead letter.
#[derive(Debug, Clone)]
pub struct Appraisal {
    /// Whether its original is where it was; nothing where the record is no dead letter, or a forged one.
    pub origin: Option<Origin>,
    /// Its originals, and what becomes of each. Where the original is gone, its copy.
    pub originals: Vec<Judged>,
    /// Why nothing of it is put back, where that is.
    pub refusal: Option<Refusal>,
}

/// An original, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What would be put back.
    pub original: Original,
    /// What a receiver would say of it.
    pub today: Today,
    /// As what it is put back, or why not.
    pub decision: Result<PutBack, Refusal>,
}

/// How an original is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBack {
    /// What, and for whom.
    pub key: Key,
    /// The group that is to take it.
    pub group: String,
    /// How often it was redriven, this time included.
    pub count: u8,
}

impl Appraisal {
    /// Whether nothing would be put back for a reason that is none to worry about.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        match &self.refusal {
            Some(refusal) => refusal.is_left_alone(),
            None => self.originals.iter().all(|judged| match &judged.decision {
                Ok(_) => false,
                Err(refusal) => refusal.is_left_alone(),
            }),
        }
    }

    /// Whether all of it would be put back, or is left alone.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let fine = |refusal: &Refusal| refusal.is_left_alone();
        self.refusal.as_ref().is_none_or(fine)
            && self
                .originals
                .iter()
                .all(|judged| judged.decision.as_ref().err().is_none_or(fine))
    }

    fn of_none(refusal: Refusal) -> Self {
        Self {
            origin: None,
            originals: Vec::new(),
            refusal: Some(refusal),
        }
    }
}

/// Looks for the original and judges everything, whether it would be put back or not.
///
/// # Errors
/// [`ReadError`]: the original could not be looked for.
pub async fn appraise(
    desk: &Desk,
    entry: &Entry,
    asked: &Asked,
    (index, ledger): (&Index, &Ledger),
    is_discarded: bool,
    now_ms: i64,
) -> Result<Appraisal, ReadError> {
    let read = match &entry.read {
        Ok(read) => read,
        Err(fault) => return Ok(Appraisal::of_none(Refusal::NoLetter(fault.clone()))),
    };
    if let Standing::Forged(fault) = &read.standing {
        // Where it says that it comes from is anybody's word.
        return Ok(Appraisal::of_none(Refusal::Forged(fault.clone())));
    }
    let origin = original::find(desk, &read.letter).await?;
    let admitted = plan::admit(entry, asked, is_discarded);
    let there = plan::originals(origin.clone(), asked);
    let refusal = admitted
        .as_ref()
        .map(|_| ())
        .and_then(|()| there.as_ref().map(|_| ()))
        .err()
        .cloned();
    let shown = match (there, &origin) {
        (Ok(originals), _) => originals,
        (Err(_), Origin::GoneButCopied(copy)) => vec![Original::clone(copy)],
        (Err(_), _) => Vec::new(),
    };
    let (letter, topic) = (&read.letter, &read.letter.origin().topic);
    let is_unjudged = is_before_order(letter) && letter.redrive_count() == 0;
    let unjudged_at_ms = is_unjudged.then(|| letter.first_failed_at_ms());
    // A broker that just began may not know of the topic for a moment: without its id the journal tells of nothing.
    let topic_id = match shown.as_slice() {
        [] => String::new(),
        _ => desk.id_there(topic).await?,
    };
    let judged = shown.into_iter().map(|original| {
        let today = original.today(desk, topic, now_ms, unjudged_at_ms);
        let decision = match (&refusal, &admitted) {
            (None, Ok((group, count))) => {
                let terms = (*group, *count, topic_id.as_str());
                plan::decide(entry, &original, terms, &today, index, ledger).map(|key| PutBack {
                    key,
                    group: (*group).to_owned(),
                    count: *count,
                })
            }
            (Some(refusal), _) | (None, Err(refusal)) => Err(refusal.clone()),
        };
        Judged {
            original,
            today,
            decision,
        }
    });
    let originals = judged.collect();
    Ok(Appraisal {
        origin: Some(origin),
        originals,
        refusal,
    })
}
