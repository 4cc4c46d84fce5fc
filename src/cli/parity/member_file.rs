//! The members of a group, as an identity provider exports them: comma-separated values with a header (RFC 4180).

use crate::error_chain::escape_control;
use crate::service::access::parity::lists::{ListedKind, ListedMember};
use csv::{Position, ReaderBuilder, StringRecord};
use std::collections::BTreeMap;

/// Bytes of a file.
pub(super) const FILE_BYTES_MAX: usize = 128 << 20;
/// Members of a file. Entra ID downloads that many in the hour that it has for it.
const ROWS_MAX: usize = 500_000;
/// Columns that a mistake names.
const COLUMNS_SHOWN_MAX: usize = 40;
/// What separates columns: a spreadsheet writes semicolons where the comma separates decimals.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// What a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ColumnRole {
    Id,
    UserName,
    Active,
    Type,
    DisplayName,
}

impl ColumnRole {
    /// Those that `--columns` can name.
    const NAMED: [ColumnRole; 4] =
        [ColumnRole::Id, ColumnRole::UserName, ColumnRole::Active, ColumnRole::Type];

    const fn as_str(self) -> &'static str {
        match self {
            ColumnRole::Id => "id",
            ColumnRole::UserName => "userName",
            ColumnRole::Active => "active",
            ColumnRole::Type => "type",
            ColumnRole::DisplayName => "displayName",
        }
    }

    /// The names in Entra's downloads: as the documents have them, and as properties; blanks and case left out.
    /// Facts: F-172, F-173.
    const fn in_entra(self) -> &'static [&'static str] {
        match self {
            ColumnRole::Id => &["objectid", "id"],
            ColumnRole::UserName => &["userprincipalname"],
            ColumnRole::Active => &["accountenabled"],
            ColumnRole::Type => &["membertype", "objecttype"],
            ColumnRole::DisplayName => &["displayname"],
        }
    }
}

/// Which columns hold what. None: those of Entra's download.
pub(super) type ColumnNames = BTreeMap<ColumnRole, String>;

/// Reads `id=COLUMN,userName=COLUMN`.
pub(super) fn parse_columns(words: &[String]) -> Result<ColumnNames, String> {
    let mut columns = ColumnNames::new();
    for word in words {
        let known = word.split_once('=').and_then(|(role, column)| {
            let role = ColumnRole::NAMED.into_iter().find(|known| known.as_str() == role.trim())?;
            Some((role, column.trim())).filter(|(_, column)| !column.is_empty())
        });
        let Some((role, column)) = known else {
            let shown = escape_control(word);
            return Err(format!(
                "--columns {shown:?} is none of id=, userName=, active= and type= with a column"
            ));
        };
        if columns.insert(role, column.to_owned()).is_some() {
            return Err(format!("--columns names {} twice", role.as_str()));
        }
    }
    if !columns.is_empty()
        && !columns.contains_key(&ColumnRole::Id)
        && !columns.contains_key(&ColumnRole::UserName)
    {
        return Err("--columns names neither id nor userName".to_owned());
    }
    Ok(columns)
}

/// The members that a file lists.
pub(super) fn parse_members(bytes: &[u8], columns: &ColumnNames) -> Result<Vec<ListedMember>, String> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("has more than {} MiB", FILE_BYTES_MAX >> 20));
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err("is UTF-16: save it as CSV in UTF-8".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.get(..error.valid_up_to()).unwrap_or_default().split(|byte| *byte == b'\n').count();
        format!("is not UTF-8 in line {line}: save it as CSV in UTF-8")
    })?;
    let text = text.trim_start_matches('\u{FEFF}');
    if text.trim().is_empty() {
        return Err("is empty: it has not even a header".to_owned());
    }
    let mut reader = ReaderBuilder::new().delimiter(separator(text)).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| in_words(&error, text))?.clone();
    let places = places(&header, columns)?;
    let mut members = Vec::new();
    let mut lines = LineCounter { text, byte: 0, line: 1 };
    for row in reader.records() {
        let row = row.map_err(|error| in_words(&error, text))?;
        if members.len() >= ROWS_MAX {
            return Err(format!("has more than {ROWS_MAX} rows"));
        }
        let line = row.position().map(|position| lines.line_of(position));
        members.push(member(&row, line, &places)?);
    }
    Ok(members)
}

/// Counts the lines of a text. The reader's own numbers are one off behind a carriage return, and behind empty lines.
struct LineCounter<'a> {
    text: &'a str,
    byte: usize,
    line: u64,
}

impl LineCounter<'_> {
    /// The line of a row, which is behind those that were asked for before.
    fn line_of(&mut self, position: &Position) -> u64 {
        let begin = usize::try_from(position.byte()).unwrap_or(usize::MAX);
        let bytes = self.text.as_bytes();
        let ends = bytes.get(begin..).unwrap_or_default();
        let begin = begin + ends.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = bytes.get(self.byte..begin).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.byte = begin.max(self.byte);
        self.line
    }
}

/// What separates the columns of the header.
fn separator(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let found = SEPARATORS.into_iter().find(|separator| header.as_bytes().contains(separator));
    found.unwrap_or(b',')
}

fn in_words(error: &csv::Error, text: &str) -> String {
    let line_of = |position| LineCounter { text, byte: 0, line: 1 }.line_of(position);
    let line = error.position().map(|position| format!(" in line {}", line_of(position))).unwrap_or_default();
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} values{line}, and its header has {expected_len}")
        }
        _ => format!("is not CSV{line}: {error}"),
    }
}

/// Where each column is.
fn places(header: &StringRecord, columns: &ColumnNames) -> Result<BTreeMap<ColumnRole, usize>, String> {
    let mut places = BTreeMap::new();
    for (role, column) in columns {
        // As it is written, else without regard to case.
        let exact = header.iter().position(|name| name.trim() == column);
        let place = exact.or_else(|| header.iter().position(|name| plain(name) == plain(column)));
        let Some(place) = place else {
            return Err(format!("has no column {column:?}; {}", has_columns(header)));
        };
        refuse_twice(header, place, column)?;
        places.insert(*role, place);
    }
    if columns.is_empty() {
        use ColumnRole::{Active, DisplayName, Id, Type, UserName};
        for role in [Id, UserName, Active, Type, DisplayName] {
            let named = |entra: &&str| header.iter().position(|name| plain(name) == **entra);
            if let Some(place) = role.in_entra().iter().find_map(named) {
                refuse_twice(header, place, role.as_str())?;
                places.insert(role, place);
            }
        }
        if !places.contains_key(&Id) && !places.contains_key(&UserName) {
            return Err(format!(
                "is no download of group members from Entra: name the columns with --columns id=COLUMN,userName=COLUMN; {}",
                has_columns(header)
            ));
        }
    }
    Ok(places)
}

fn plain(name: &str) -> String {
    name.to_lowercase().split_whitespace().collect()
}

/// Of two columns of one name it is not known which is meant.
fn refuse_twice(header: &StringRecord, place: usize, wanted: &str) -> Result<(), String> {
    let name = header.get(place).unwrap_or_default().trim();
    match header.iter().filter(|other| other.trim() == name).count() {
        0 | 1 => Ok(()),
        _ => Err(format!("has the column {name:?} more than once: which is the {wanted} is not known")),
    }
}

fn has_columns(header: &StringRecord) -> String {
    let names: Vec<String> =
        header.iter().take(COLUMNS_SHOWN_MAX).map(|name| escape_control(name.trim())).collect();
    let more = if header.len() > COLUMNS_SHOWN_MAX { " and more" } else { "" };
    format!("it has {}{more}", names.join(", "))
}

fn member(
    row: &StringRecord,
    line: Option<u64>,
    places: &BTreeMap<ColumnRole, usize>,
) -> Result<ListedMember, String> {
    let text = |role: ColumnRole| {
        let text = row.get(*places.get(&role)?)?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let active = match text(ColumnRole::Active) {
        None => None,
        Some(word) => Some(switch(&word).ok_or_else(|| {
            let word = escape_control(&word);
            format!(
                "says {word:?} in line {}, and that is neither active nor inactive",
                line.unwrap_or_default()
            )
        })?),
    };
    let kind = match text(ColumnRole::Type) {
        None => ListedKind::Person,
        Some(word) => kind(&word).ok_or_else(|| {
            let word = escape_control(&word);
            format!("says {word:?} in line {}, and that is no type of a member", line.unwrap_or_default())
        })?,
    };
    Ok(ListedMember {
        kind,
        id: text(ColumnRole::Id),
        user_name: text(ColumnRole::UserName),
        display_name: text(ColumnRole::DisplayName),
        active,
        line,
    })
}

/// Whether an account is active, in the words of Entra, Okta, Google and spreadsheets.
fn switch(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "true" | "yes" | "1" | "active" | "enabled" | "provisioned" | "password_expired" | "recovery"
        | "locked_out" => Some(true),
        "false" | "no" | "0" | "inactive" | "disabled" | "suspended" | "deprovisioned" | "staged" => {
            Some(false)
        }
        _ => None,
    }
}

/// None: a word that is not known. Whoever it is would be missing from the list.
fn kind(word: &str) -> Option<ListedKind> {
    let word = word.to_lowercase().replace([' ', '-', '_'], "");
    match word.trim_start_matches("#microsoft.graph.") {
        "user" | "member" | "guest" | "person" => Some(ListedKind::Person),
        "group" => Some(ListedKind::Group),
        "serviceprincipal" | "application" | "managedidentity" | "agent" | "device" | "contact"
        | "orgcontact" => Some(ListedKind::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: impl AsRef<[u8]>, columns: &[&str]) -> Result<Vec<ListedMember>, String> {
        let columns: Vec<String> = columns.iter().map(|word| (*word).to_owned()).collect();
        parse_members(text.as_ref(), &parse_columns(&columns)?)
    }

    /// What is read of each member: kind, id, userName, active, line.
    type Read = (ListedKind, Option<&'static str>, Option<&'static str>, Option<bool>, u64);

    #[track_caller]
    fn check(text: impl AsRef<[u8]>, columns: &[&str], expected: &[Read]) {
        let read = members(text, columns).unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|member| {
                let (id, name) = (member.id.as_deref(), member.user_name.as_deref());
                (member.kind, id, name, member.active, member.line.unwrap())
            })
            .collect();
        assert_eq!(read, expected);
    }

    #[track_caller]
    fn mistake(text: impl AsRef<[u8]>, columns: &[&str], said: &str) {
        let error = members(text, columns).unwrap_err();
        assert!(error.contains(said), "{error}");
    }

    use ListedKind::{Group, Other, Person};

    /// Facts: F-172.
    #[test]
    fn the_download_of_entra_is_read_by_its_documented_columns() {
        check(
            "Object ID,User principal name,Display name,Member type\n\
             a1,ana@contoso.example,Ana,User\n\
             g1,,Night Shift,Group\n\
             s1,,backup job,Service Principal\n",
            &[],
            &[
                (Person, Some("a1"), Some("ana@contoso.example"), None, 2),
                (Group, Some("g1"), None, None, 3),
                (Other, Some("s1"), None, None, 4),
            ],
        );
    }

    #[test]
    fn a_type_that_is_not_known_is_a_mistake() {
        mistake("id,userPrincipalName,objectType\na1,ana,Alien\n", &[], "\"Alien\" in line 2");
    }

    /// Facts: F-173.
    #[test]
    fn the_names_of_properties_mean_the_same_columns() {
        check(
            "id,userPrincipalName,displayName,objectType,userType,isUser,isGroup,isGuest\n\
             a1,ana@contoso.example,Ana,user,Member,TRUE,FALSE,FALSE\n",
            &[],
            &[(Person, Some("a1"), Some("ana@contoso.example"), None, 2)],
        );
        // The download of users.
        check(
            "userPrincipalName,objectId,accountEnabled\nana@contoso.example,a1,False\n",
            &[],
            &[(Person, Some("a1"), Some("ana@contoso.example"), Some(false), 2)],
        );
    }

    #[test]
    fn quotes_line_ends_a_byte_order_mark_and_blank_lines_are_those_of_rfc_4180() {
        let text = "\u{FEFF}\"id\",\"userPrincipalName\",displayName\r\n\
                    a1,\"ana, the \"\"first\"\"\",\"two\r\nlines\"\r\n\
                    \r\n\
                    a2, bo ,\r\n";
        check(
            text,
            &[],
            &[
                (Person, Some("a1"), Some("ana, the \"first\""), None, 2),
                (Person, Some("a2"), Some("bo"), None, 5),
            ],
        );
    }

    #[test]
    fn other_exports_name_their_columns_and_may_have_other_separators() {
        check(
            "Okta ID;Login;Status;First name\n00u1;ana@contoso.example;ACTIVE;Ana\n00u2;bo;DEPROVISIONED;Bo\n",
            &["id=Okta ID", "userName=login", "active=Status"],
            &[
                (Person, Some("00u1"), Some("ana@contoso.example"), Some(true), 2),
                (Person, Some("00u2"), Some("bo"), Some(false), 3),
            ],
        );
        check("mail\tkey\nana\tk1\n", &["userName=mail"], &[(Person, None, Some("ana"), None, 2)]);
        check("id\n", &[], &[]);
    }

    #[test]
    fn what_is_no_list_of_members_says_why_and_which_columns_there_are() {
        mistake("", &[], "is empty");
        mistake("\u{FEFF}\r\n", &[], "is empty");
        mistake("Name,Mail\nana,a@x\n", &[], "--columns id=COLUMN,userName=COLUMN; it has Name, Mail");
        mistake("id,id\na,b\n", &[], "has the column \"id\" more than once");
        mistake("ID,x,x\na,b,c\n", &["id=x"], "has the column \"x\" more than once");
        mistake("id,login\na,b\n", &["id=id", "userName=Mail"], "no column \"Mail\"; it has id, login");
        mistake(
            "id,userPrincipalName\r\na,b\r\n\r\na1\r\n",
            &[],
            "has 1 values in line 4, and its header has 2",
        );
        mistake(b"id\na1\n\xff\n", &[], "not UTF-8 in line 3");
        mistake(b"\xff\xfei\0d\0", &[], "is UTF-16");
        mistake("id,accountEnabled\na1,perhaps\n", &[], "says \"perhaps\" in line 2");
        let long = format!("id\n{}", "a\n".repeat(ROWS_MAX + 1));
        mistake(long, &[], "more than 500000 rows");
        mistake(vec![b' '; FILE_BYTES_MAX + 1], &[], "more than 128 MiB");
    }

    #[test]
    fn a_mistake_in_the_columns_is_told() {
        mistake("id\n", &["mail=id"], "none of id=");
        mistake("id\n", &["id="], "none of id=");
        mistake("id\n", &["id=a", "id=b"], "names id twice");
        mistake("id\n", &["active=id"], "neither id nor userName");
    }
}
