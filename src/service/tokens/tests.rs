use crate::id::OpId;
use crate::ports::secrets::{SecretError, SecretVersion};
use crate::service::tokens::*;
use async_trait::async_trait;
use secrecy::SecretString;
use std::sync::atomic::{AtomicUsize, Ordering};
use time::macros::datetime;
use uuid::Uuid;

const NOON: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

/// The runtime's own clock, which these tests pause, and the jitter.
struct Paused(tokio::time::Instant, f64);

impl Clock for Paused {
    fn now(&self) -> OffsetDateTime {
        NOON + self.0.elapsed()
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

impl IdSource for Paused {
    fn random(&self) -> Uuid {
        Uuid::nil()
    }
    fn op(&self) -> OpId {
        OpId::new(Uuid::nil())
    }
    fn jitter(&self) -> f64 {
        self.1
    }
}

/// A vault in memory, with failures on demand.
#[derive(Default)]
struct Vault {
    versions: Mutex<Vec<(SecretVersion, String)>>,
    trouble: Mutex<Option<SecretError>>,
    takes: Mutex<Duration>,
    /// A version whose value is refused.
    unreadable: Mutex<Option<String>>,
    lists: AtomicUsize,
    reads: AtomicUsize,
}

impl Vault {
    fn add(&self, token: &str, label: &str) {
        let mut versions = lock(&self.versions);
        let number = versions.len();
        let version = SecretVersion {
            id: format!("v{number}"),
            enabled: true,
            created: NOON + Duration::from_secs(number as u64),
            not_before: None,
            expires: None,
            label: Some(label.to_owned()),
        };
        versions.push((version, token.to_owned()));
    }

    fn fail(&self, trouble: Option<SecretError>) {
        *lock(&self.trouble) = trouble;
    }

    fn loads(&self) -> usize {
        self.lists.load(Ordering::Relaxed)
    }

    async fn answer(&self) -> Result<(), SecretError> {
        let takes = *lock(&self.takes);
        tokio::time::sleep(takes).await;
        lock(&self.trouble).clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn versions(&self, _name: &str) -> Result<Vec<SecretVersion>, SecretError> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.answer().await?;
        Ok(lock(&self.versions).iter().map(|(version, _)| version.clone()).collect())
    }

    async fn value(&self, name: &str, id: &str) -> Result<SecretString, SecretError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.answer().await?;
        if lock(&self.unreadable).as_deref() == Some(id) {
            return Err(SecretError::Refused { name: name.to_owned(), status: 403 });
        }
        let versions = lock(&self.versions);
        let found = versions.iter().find(|(version, _)| version.id == id);
        found
            .map(|(_, token)| token.clone().into())
            .ok_or_else(|| SecretError::Missing { name: name.to_owned() })
    }
}

fn away() -> Option<SecretError> {
    Some(SecretError::Away { detail: "unplugged".to_owned() })
}

fn token(letter: char) -> String {
    letter.to_string().repeat(40)
}

/// A vault that knows the tokens `a` and `b`, and a service that loads from it.
fn start(vault: &Arc<Vault>) -> Arc<BearerTokens> {
    start_with_jitter(vault, 0.5)
}

fn start_with_jitter(vault: &Arc<Vault>, jitter: f64) -> Arc<BearerTokens> {
    let clock = Arc::new(Paused(tokio::time::Instant::now(), jitter));
    let tokens = Arc::new(BearerTokens::from_vault(
        vault.clone(),
        "scim-bearer-token".to_owned(),
        clock.clone(),
        clock,
    ));
    let kept = tokens.clone();
    tokio::spawn(async move { kept.keep_fresh().await });
    tokens
}

fn vault() -> Arc<Vault> {
    let vault = Arc::new(Vault::default());
    vault.add(&token('a'), "entra");
    vault
}

fn known(label: &str) -> TokenVerdict {
    TokenVerdict::Known { label: label.to_owned() }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_requests_wait_for_one_shared_load() {
    let vault = vault();
    *lock(&vault.takes) = Duration::from_secs(1);
    let tokens = start(&vault);
    let good = token('a');
    let checks = futures_util::future::join_all((0..50).map(|_| tokens.check(&good))).await;
    assert!(checks.iter().all(|verdict| *verdict == known("entra")));
    // One at the start; the requests asked for one that began after they came, which no request waited for.
    assert!(vault.loads() <= 2, "{}", vault.loads());
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_is_away_or_slow_at_the_start_is_no_401() {
    let vault = vault();
    *lock(&vault.takes) = Duration::from_secs(60);
    let tokens = start(&vault);
    let began = tokio::time::Instant::now();
    assert_eq!(tokens.check(&token('a')).await, TokenVerdict::Unavailable { retry_after: WAIT });
    assert_eq!(began.elapsed(), WAIT);

    let vault = vault_that_is_away();
    let tokens = start(&vault);
    for presented in ['a', 'x'] {
        assert!(matches!(tokens.check(&token(presented)).await, TokenVerdict::Unavailable { .. }));
    }
    assert_eq!(tokens.health().state, TokenState::NotLoaded);
    vault.fail(None);
    pass(61).await;
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
}

fn vault_that_is_away() -> Arc<Vault> {
    let vault = vault();
    vault.fail(away());
    vault
}

#[tokio::test(start_paused = true)]
async fn an_unknown_token_is_refused_after_a_load_of_its_own_and_remembered() {
    let vault = vault();
    let tokens = start(&vault);
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    pass(1).await;
    let before = vault.loads();
    for _ in 0..5 {
        assert_eq!(tokens.check(&token('x')).await, TokenVerdict::Unknown);
    }
    assert_eq!(vault.loads(), before + 1);
    pass(61).await;
    assert_eq!(tokens.check(&token('x')).await, TokenVerdict::Unknown);
    assert_eq!(vault.loads(), before + 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_version_works_at_once_beside_the_one_before_it() {
    let vault = vault();
    let tokens = start(&vault);
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    pass(1).await;
    vault.add(&token('b'), "entra");
    assert_eq!(tokens.check(&token('b')).await, known("entra"));
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    vault.add(&token('c'), "entra");
    assert_eq!(tokens.check(&token('c')).await, known("entra"));
    assert_eq!(tokens.check(&token('a')).await, TokenVerdict::Unknown);
    // Each version was read once.
    assert_eq!(vault.reads.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_disabled_stops_within_five_minutes_of_a_slow_vault() {
    let vault = vault();
    vault.add(&token('b'), "entra");
    // As slow as a call may be.
    *lock(&vault.takes) = Duration::from_secs(10);
    let tokens = start_with_jitter(&vault, 1.0);
    pass(11).await;
    // The list was read a moment ago, the values are still under way.
    lock(&vault.versions)[0].0.enabled = false;
    pass(25).await;
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    // A new version must not hold up what the list says of the old one.
    vault.add(&token('c'), "okta");
    pass(300 - 25).await;
    assert!(!matches!(tokens.check(&token('a')).await, TokenVerdict::Known { .. }));
    assert_eq!(tokens.check(&token('b')).await, known("entra"));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_disabled_stops_within_five_minutes_though_two_loads_fail() {
    let vault = vault();
    vault.add(&token('b'), "entra");
    let tokens = start_with_jitter(&vault, 1.0);
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    lock(&vault.versions)[0].0.enabled = false;
    *lock(&vault.takes) = Duration::from_secs(10);
    vault.fail(away());
    pass(288).await;
    vault.fail(None);
    pass(300 - 288).await;
    assert!(!matches!(tokens.check(&token('a')).await, TokenVerdict::Known { .. }));
    assert_eq!(tokens.check(&token('b')).await, known("entra"));
}

#[tokio::test(start_paused = true)]
async fn disabling_a_leaked_token_does_not_revive_the_one_before_the_last() {
    let vault = vault();
    for letter in ['b', 'c'] {
        vault.add(&token(letter), "entra");
    }
    let tokens = start(&vault);
    assert_eq!(tokens.check(&token('c')).await, known("entra"));
    lock(&vault.versions)[2].0.enabled = false;
    pass(300).await;
    assert_eq!(tokens.check(&token('c')).await, TokenVerdict::Unknown);
    assert_eq!(tokens.check(&token('a')).await, TokenVerdict::Unknown);
    assert_eq!(tokens.check(&token('b')).await, known("entra"));
    // To have the old one back it is stored again.
    vault.add(&token('a'), "entra");
    pass(61).await;
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    assert_eq!(tokens.check(&token('b')).await, TokenVerdict::Unknown);
}

#[tokio::test(start_paused = true)]
async fn guessing_does_not_drive_the_vault() {
    let vault = vault();
    let tokens = start(&vault);
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    pass(1).await;
    let before = vault.loads();
    let mut verdicts = Vec::new();
    for n in 0..200 {
        verdicts.push(tokens.check(&format!("{n:040}")).await);
    }
    assert!(vault.loads() <= before + 11, "{}", vault.loads() - before);
    assert!(verdicts.iter().all(|verdict| !matches!(verdict, TokenVerdict::Known { .. })));
    let waits = verdicts.iter().filter_map(|verdict| match verdict {
        TokenVerdict::Unavailable { retry_after } => Some(*retry_after),
        _ => None,
    });
    assert!(waits.clone().count() > 180);
    assert!(waits.clone().all(|wait| wait <= Duration::from_secs(10)), "{:?}", waits.max());
    // A caller with a valid token is not affected.
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
}

#[tokio::test(start_paused = true)]
async fn tokens_outlive_their_vault_for_an_hour_and_come_back_with_it() {
    let vault = vault();
    let tokens = start(&vault);
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    vault.fail(away());
    pass(3540).await;
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    assert!(matches!(tokens.check(&token('x')).await, TokenVerdict::Unavailable { .. }));
    pass(400).await;
    assert!(matches!(tokens.check(&token('a')).await, TokenVerdict::Unavailable { .. }));
    assert_eq!(tokens.health().state, TokenState::Stale);
    vault.fail(None);
    pass(67).await;
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    assert_eq!(tokens.health().state, TokenState::Usable);
}

#[tokio::test(start_paused = true)]
async fn a_vault_without_a_usable_token_is_our_trouble() {
    let vault = Arc::new(Vault::default());
    vault.add("too-short", "entra");
    let tokens = start(&vault);
    assert!(matches!(tokens.check(&token('a')).await, TokenVerdict::Unavailable { .. }));
    assert_eq!(tokens.health().state, TokenState::Empty);
    vault.add(&token('a'), "entra");
    pass(5).await;
    assert_eq!(tokens.health().state, TokenState::Usable, "no request has to ask");
}

#[tokio::test(start_paused = true)]
async fn callers_who_try_again_do_not_put_off_the_next_load() {
    let vault = vault_that_is_away();
    let tokens = start(&vault);
    for _ in 0..8 {
        assert!(matches!(tokens.check(&token('a')).await, TokenVerdict::Unavailable { .. }));
    }
    vault.fail(None);
    pass(5).await;
    assert_eq!(tokens.health().state, TokenState::Usable, "no request has to ask");
}

#[tokio::test(start_paused = true)]
async fn a_busy_vault_is_left_alone_for_as_long_as_it_asks() {
    let vault = vault();
    let tokens = start(&vault);
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    pass(1).await;
    vault.fail(Some(SecretError::Throttled { retry_after: Duration::from_secs(40) }));
    assert!(matches!(tokens.check(&token('x')).await, TokenVerdict::Unavailable { .. }));
    let before = vault.loads();
    for n in 0..20 {
        assert!(matches!(tokens.check(&format!("{n:040}")).await, TokenVerdict::Unavailable { .. }));
        pass(1).await;
    }
    assert_eq!(vault.loads(), before);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_cannot_be_read_takes_nothing_from_the_others_and_is_no_401() {
    let vault = vault();
    vault.add(&token('b'), "okta");
    *lock(&vault.unreadable) = Some("v1".to_owned());
    let tokens = start(&vault);
    assert_eq!(tokens.check(&token('a')).await, known("entra"));
    assert!(matches!(tokens.check(&token('b')).await, TokenVerdict::Unavailable { .. }));
    *lock(&vault.unreadable) = None;
    pass(70).await;
    assert_eq!(tokens.check(&token('b')).await, known("okta"));
}

#[tokio::test(start_paused = true)]
async fn fixed_tokens_never_grow_stale() {
    let clock = Arc::new(Paused(tokio::time::Instant::now(), 0.5));
    let set = TokenSet::new([("local".to_owned(), token('a').into())]).unwrap();
    let tokens = BearerTokens::fixed(set, clock);
    pass(100_000).await;
    assert_eq!(tokens.check(&token('a')).await, known("local"));
    assert_eq!(tokens.check(&token('x')).await, TokenVerdict::Unknown);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_not_used_is_logged_with_its_version_once_a_load() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let vault = vault();
    vault.add(&token('b'), "service");
    let tokens = start(&vault);
    assert_eq!(tokens.check(&token('b')).await, known("unlabelled"));
    let text = String::from_utf8(lock(&log.0).clone()).unwrap();
    assert_eq!(text.matches("counts as unlabelled").count(), vault.loads(), "{text}");
    assert!(text.contains(r#"version="v1""#) && !text.contains(r#"version="v0""#), "{text}");
}
