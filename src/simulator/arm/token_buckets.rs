//! Token buckets: one for each subscription and kind of operation, refilled by Azure's clock.

use crate::simulator::request::CallMethod;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// What a call costs a token of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketKind {
    Reads,
    Writes,
    Deletes,
}

impl BucketKind {
    pub const fn of(method: CallMethod) -> Self {
        match method {
            CallMethod::Get | CallMethod::List => Self::Reads,
            CallMethod::Put => Self::Writes,
            CallMethod::Delete => Self::Deletes,
        }
    }

    /// Tokens of a full bucket.
    pub const fn capacity(self) -> u32 {
        match self {
            Self::Reads => 250,
            Self::Writes | Self::Deletes => 200,
        }
    }

    /// Tokens that come back each second.
    const fn refill(self) -> u32 {
        match self {
            Self::Reads => 25,
            Self::Writes | Self::Deletes => 10,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Deletes => "deletes",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    counted_at: OffsetDateTime,
}

/// All buckets. One that was never used is full.
#[derive(Debug, Default)]
pub struct TokenBuckets {
    buckets: BTreeMap<(String, BucketKind), Bucket>,
}

impl TokenBuckets {
    /// Takes one token: what is left, or the whole seconds until there is one again.
    /// Facts: F-023, F-096.
    pub fn take_token(
        &mut self,
        subscription: &str,
        kind: BucketKind,
        now: OffsetDateTime,
    ) -> Result<u32, u64> {
        let full = Bucket { tokens: f64::from(kind.capacity()), counted_at: now };
        let bucket = self.buckets.entry((subscription.to_owned(), kind)).or_insert(full);
        let elapsed = (now - bucket.counted_at).as_seconds_f64().max(0.0);
        let refilled = bucket.tokens + elapsed * f64::from(kind.refill());
        bucket.tokens = refilled.min(f64::from(kind.capacity()));
        bucket.counted_at = now;
        if bucket.tokens < 1.0 {
            let missing = (1.0 - bucket.tokens) / f64::from(kind.refill());
            return Err((missing.ceil() as u64).max(1));
        }
        bucket.tokens -= 1.0;
        Ok(bucket.tokens as u32)
    }
}
