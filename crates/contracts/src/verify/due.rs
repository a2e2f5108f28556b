//! A signature that a record stands or falls with, and that was not verified yet.

use crate::sign::batch::{self, Statement};
use crate::sign::{Signature, VerifyingKey};

/// A signature, and what it may cover: one of the inputs.
pub(super) struct Due<'a> {
    key: &'a VerifyingKey,
    signature: Signature,
    first: Vec<u8>,
    others: Vec<Vec<u8>>,
}

impl<'a> Due<'a> {
    /// A signature over this input.
    pub(super) const fn one(key: &'a VerifyingKey, signature: Signature, input: Vec<u8>) -> Self {
        Self {
            key,
            signature,
            first: input,
            others: Vec::new(),
        }
    }

    /// A signature over any of these, the likeliest first; `None` where there are none.
    pub(super) fn any(
        key: &'a VerifyingKey,
        signature: Signature,
        mut inputs: impl Iterator<Item = Vec<u8>>,
    ) -> Option<Self> {
        Some(Self {
            key,
            signature,
            first: inputs.next()?,
            others: inputs.collect(),
        })
    }

    /// Whether it holds by itself, by the strict rules.
    pub(super) fn holds(&self) -> bool {
        #[cfg(cybermesh_bugs)]
        if super::bugs::is_believed() {
            return true;
        }
        std::iter::once(&self.first)
            .chain(&self.others)
            .any(|input| self.over(input).holds())
    }

    fn over<'s>(&'s self, message: &'s [u8]) -> Statement<'s> {
        Statement {
            key: self.key,
            message,
            signature: &self.signature,
        }
    }

    /// The one statement it makes, where it is one.
    fn statement(&self) -> Option<Statement<'_>> {
        self.others.is_empty().then(|| self.over(&self.first))
    }
}

/// Whether each holds, in their order. Those over one input are verified together; one that could be
/// over several, by itself: it would fail the others. Where nothing is due, nothing fails.
pub(super) fn hold<'a>(all: impl Iterator<Item = Option<&'a Due<'a>>>) -> Vec<bool> {
    let all: Vec<_> = all.collect();
    let together: Vec<_> = all
        .iter()
        .flatten()
        .filter_map(|due| due.statement())
        .collect();
    let mut together = batch::hold(&together).into_iter();
    all.into_iter()
        .map(|due| match due {
            None => true,
            Some(due) if due.others.is_empty() => together.next().unwrap_or(false),
            Some(due) => due.holds(),
        })
        .collect()
}
