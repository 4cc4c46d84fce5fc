//! Filters and paths as a language: what is printed parses to the same, and no text does harm.

use crate::id::UserId;
use crate::scim::attr_path::AttrPath;
use crate::scim::compare::{self, CaseMode};
use crate::scim::date_time;
use crate::scim::filter::parse_error::{DEPTH_MAX, LENGTH_MAX, NODES_MAX};
use crate::scim::filter::tree::{CompareOp, Filter, FilterExpr, FilterLiteral};
use crate::scim::patch_path::PatchPath;
use crate::scim::schema::{Attribute, AttributeType, COMMON, ResourceType, Returned, Schema};
use serde_json::json;

const KINDS: [ResourceType; 2] = [ResourceType::User, ResourceType::Group];
const SEED: u64 = 0x7644_0003_0004_0202;
const TEXTS: [&str; 11] = [
    "a",
    "Ana Ng",
    "o'b\"r\\i/e",
    "",
    " ",
    "größe 李小龍 \u{1F6E1}",
    "a\u{200B}b",
    "[(and)] not pr",
    "\n\t\u{1}",
    "0B5C2C59-6C0E-4A07-8B53-3B1C7F2F9A10",
    "true",
];
const INSTANTS: [&str; 3] = ["2026-01-31T08:00:00Z", "2026-01-31T09:00:00.5+01:00", "2026-01-31T08:00:00"];

/// Numbers that look random and are the same every time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }

    /// An attribute that can be filtered by, and the extension it is in.
    fn attribute(&mut self, kind: ResourceType) -> (Option<&'static Schema>, &'static Attribute) {
        loop {
            let (schema, attributes) = match self.roll(5) {
                0 => (None, COMMON),
                1 if kind == ResourceType::User => {
                    let schema = self.of(kind.extensions());
                    (Some(schema), schema.attributes)
                }
                _ => (None, kind.core().attributes),
            };
            let attribute = &attributes[self.roll(attributes.len())];
            if attribute.returned != Returned::Never {
                return (schema, attribute);
            }
        }
    }

    fn path(&mut self, kind: ResourceType) -> AttrPath {
        let (extension, attribute) = self.attribute(kind);
        let subs = attribute.sub_attributes;
        let sub = (!subs.is_empty() && self.roll(2) == 0).then(|| &subs[self.roll(subs.len())]);
        AttrPath { extension, attribute, sub }
    }

    fn literal(&mut self, path: &AttrPath, op: CompareOp) -> FilterLiteral {
        let leaf = path.leaf();
        if op.is_equality() && self.roll(6) == 0 {
            return FilterLiteral::Null;
        }
        match leaf.kind {
            AttributeType::Boolean => FilterLiteral::Boolean(self.roll(2) == 0),
            AttributeType::DateTime if !op.is_part() => {
                let written = self.of(&INSTANTS).to_owned();
                let at = date_time::parse(&written).unwrap();
                FilterLiteral::Instant { written, at }
            }
            _ => {
                let written = self.of(&TEXTS).to_owned();
                let id = UserId::parse(&written).ok().filter(|_| leaf.own_id);
                let key = id.map_or_else(|| compare::key(&written, CaseMode::of(leaf)), |id| id.to_string());
                let is_hidden = leaf.plain_text && compare::has_hidden(&written);
                FilterLiteral::Text { written, key: Some(key).filter(|key| !key.is_empty() && !is_hidden) }
            }
        }
    }

    fn comparison(&mut self, path: AttrPath) -> FilterExpr {
        let leaf = path.leaf();
        let op = loop {
            let (op, _) = self.of(&CompareOp::ALL);
            let is_possible = match leaf.kind {
                AttributeType::Boolean => op.is_equality(),
                AttributeType::Binary => !op.is_order(),
                AttributeType::Complex => false,
                _ => true,
            };
            if leaf.kind == AttributeType::Complex || self.roll(5) == 0 {
                return FilterExpr::Present(path);
            }
            if is_possible {
                break op;
            }
        };
        FilterExpr::Compare(path, op, self.literal(&path, op))
    }

    fn term(&mut self, kind: ResourceType, depth: usize) -> FilterExpr {
        let path = self.path(kind);
        let parts = path.attribute.sub_attributes;
        if path.sub.is_none() && !parts.is_empty() && self.roll(2) == 0 {
            let mut part = |dice: &mut Dice| {
                let attribute = &parts[dice.roll(parts.len())];
                dice.comparison(AttrPath { extension: None, attribute, sub: None })
            };
            let inner = self.connected(depth.min(2), &mut part);
            return FilterExpr::Has(path, Box::new(inner));
        }
        self.comparison(path)
    }

    fn connected(&mut self, depth: usize, term: &mut impl FnMut(&mut Dice) -> FilterExpr) -> FilterExpr {
        let mut several = |dice: &mut Dice| -> Vec<FilterExpr> {
            (0..1 + dice.roll(3)).map(|_| dice.connected(depth - 1, &mut *term)).collect()
        };
        match if depth == 0 { 9 } else { self.roll(8) } {
            0 | 1 => FilterExpr::and(several(self)),
            2 | 3 => FilterExpr::or(several(self)),
            4 => FilterExpr::Not(Box::new(self.connected(depth - 1, term))),
            _ => term(self),
        }
    }

    fn filter(&mut self, kind: ResourceType) -> Filter {
        let expr = self.connected(4, &mut |dice: &mut Dice| dice.term(kind, 2));
        Filter { expr }
    }

    fn patch_path(&mut self, kind: ResourceType) -> PatchPath {
        let path = self.path(kind);
        let (of, parts) = (path.whole(), path.attribute.sub_attributes);
        if !of.attribute.multi_valued || parts.is_empty() || self.roll(3) == 0 {
            return PatchPath::Attribute(path);
        }
        let mut part = |dice: &mut Dice| {
            let attribute = &parts[dice.roll(parts.len())];
            dice.comparison(AttrPath { extension: None, attribute, sub: None })
        };
        let filter = Filter { expr: self.connected(3, &mut part) };
        PatchPath::Elements { of, filter, sub: path.sub }
    }

    /// The text with one to three small changes.
    fn changed(&mut self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..=self.roll(3) {
            let at = self.roll(chars.len() + 1);
            match self.roll(6) {
                0 if at < chars.len() => drop(chars.remove(at)),
                1 if at < chars.len() => chars[at] = chars[at].to_ascii_uppercase(),
                2 if at < chars.len() => chars.insert(at, chars[at]),
                3 => chars.truncate(at),
                4 => {
                    let words =
                        [" and ", " or ", " not ", " eq ", " pr ", "null", "true", "value", ".value", "type"];
                    chars.splice(at..at, self.of(&words).chars());
                }
                _ => chars
                    .insert(at, self.of(&['(', ')', '[', ']', '"', '\\', ' ', '.', ':', 'é', '\u{1F6E1}'])),
            }
        }
        chars.into_iter().collect()
    }

    /// Any text at all.
    fn noise(&mut self) -> String {
        let length = self.roll(40);
        let bytes: Vec<u8> = (0..length).map(|_| u8::try_from(self.roll(256)).unwrap()).collect();
        match self.roll(3) {
            0 => String::from_utf8_lossy(&bytes).into_owned(),
            1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
            _ => {
                let code = |dice: &mut Dice| char::from_u32(u32::try_from(dice.roll(0x11_0000)).unwrap());
                (0..length).filter_map(|_| code(self)).collect()
            }
        }
    }
}

#[test]
fn what_is_printed_of_any_tree_parses_to_the_same() {
    let mut dice = Dice(SEED);
    for round in 0..20_000 {
        let kind = KINDS[round % 2];
        let filter = dice.filter(kind);
        let printed = filter.to_string();
        assert_eq!(Filter::parse(kind, &printed).as_ref(), Ok(&filter), "round {round}: {printed}");
        let path = dice.patch_path(kind);
        let printed = path.to_string();
        assert_eq!(PatchPath::parse(kind, &printed).as_ref(), Ok(&path), "round {round}: {printed}");
    }
}

/// A text that is nearly right is read or refused; what is read of it prints to what is read again as the same.
#[test]
fn what_is_read_of_any_text_prints_to_the_same() {
    let mut dice = Dice(SEED);
    let mut read = 0;
    for round in 0..20_000 {
        let kind = KINDS[round % 2];
        let original = dice.filter(kind).to_string();
        let text = dice.changed(&original);
        if let Ok(filter) = Filter::parse(kind, &text) {
            let printed = filter.to_string();
            assert_eq!(Filter::parse(kind, &printed).as_ref(), Ok(&filter), "round {round}: {text}");
            read += usize::from(text != original);
            // It can be asked of anything.
            filter
                .matches(&json!({"emails": [{"value": 5}, "x", null], "meta": [], "members": {"value": []}}));
            filter.lookup();
        }
        let original = dice.patch_path(kind).to_string();
        let text = dice.changed(&original);
        match PatchPath::parse(kind, &text) {
            Err(_) | Ok(PatchPath::Schema(None)) => {}
            Ok(path) => {
                let printed = path.to_string();
                assert_eq!(PatchPath::parse(kind, &printed).as_ref(), Ok(&path), "round {round}: {text}");
            }
        }
    }
    assert!(read > 1000, "{read} changed texts were read");
}

#[test]
fn no_text_does_harm() {
    let mut dice = Dice(SEED);
    for _ in 0..20_000 {
        let noise = dice.noise();
        let around = [noise.clone(), format!("userName eq \"{noise}\""), format!("emails[{noise}].value")];
        for text in around {
            for kind in KINDS {
                let _ = Filter::parse(kind, &text);
                let _ = Filter::parse_among_all(kind, &text);
                let _ = PatchPath::parse(kind, &text);
            }
        }
    }
}

/// On a stack that is a small part of what a thread of the service has.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    const STACK_BYTES: usize = 512 * 1024;
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap();
}

/// Read, printed, asked and dropped.
fn is_read(kind: ResourceType, text: &str) -> bool {
    let read = Filter::parse(kind, text);
    if let Ok(filter) = &read {
        assert_eq!(Filter::parse(kind, &filter.to_string()).as_ref(), Ok(filter), "{text}");
        filter.matches(&json!({"userName": "ana", "emails": [{"type": "work"}]}));
        filter.lookup();
    }
    read.is_ok()
}

#[test]
fn nesting_is_bounded_and_the_bound_is_usable() {
    on_a_small_stack(|| {
        let user = ResourceType::User;
        let nested = |open: &str, inner: &str, depth: usize| {
            format!("{}{inner}{}", open.repeat(depth), ")".repeat(depth))
        };
        for open in ["(", "not (", "userName pr or (", "userName pr and not ("] {
            assert!(is_read(user, &nested(open, "title pr", DEPTH_MAX)), "{open}");
            assert!(!is_read(user, &nested(open, "title pr", DEPTH_MAX + 1)), "{open}");
            // Brackets count like parentheses.
            let in_brackets = nested(open, "type pr", DEPTH_MAX - 1).replace("userName", "value");
            assert!(is_read(user, &format!("emails[{in_brackets}]")), "{open}");
            assert!(!is_read(user, &format!("(emails[{in_brackets}])")), "{open}");
            let as_long_as_can_be = open.repeat(LENGTH_MAX / open.len());
            assert!(!is_read(user, &as_long_as_can_be));
            assert!(PatchPath::parse(user, &format!("emails[{as_long_as_can_be}]")).is_err());
        }
        let path = |depth| format!("emails[{}]", nested("not (", "type eq \"a\"", depth));
        assert!(PatchPath::parse(user, &path(DEPTH_MAX - 1)).is_ok());
        assert!(PatchPath::parse(user, &path(DEPTH_MAX)).is_err());
    });
}

#[test]
fn length_and_terms_are_bounded_and_the_bounds_are_usable() {
    on_a_small_stack(|| {
        let user = ResourceType::User;
        let of_bytes = |bytes: usize| format!("title eq \"{}\"", "x".repeat(bytes - "title eq \"\"".len()));
        assert!(is_read(user, &of_bytes(LENGTH_MAX)));
        assert!(!is_read(user, &of_bytes(LENGTH_MAX + 1)));
        for word in [" and ", " or "] {
            let terms = |terms: usize| vec!["title pr"; terms].join(word);
            assert!(is_read(user, &terms(NODES_MAX)));
            assert!(!is_read(user, &terms(NODES_MAX + 1)));
            let in_brackets = |terms: usize| format!("emails[{}]", vec!["type pr"; terms].join(word));
            assert!(is_read(user, &in_brackets(NODES_MAX - 1)));
            assert!(!is_read(user, &in_brackets(NODES_MAX)));
            assert!(PatchPath::parse(user, &in_brackets(NODES_MAX)).is_ok());
            assert!(PatchPath::parse(user, &in_brackets(NODES_MAX + 1)).is_err());
        }
    });
}
