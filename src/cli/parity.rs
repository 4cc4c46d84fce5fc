//! `parity`: whether the identity provider's list equals ours, and ours Azure's. Reads with the operator's own rights, and changes
//! nothing.

mod member_file;
mod output;
mod words;

use crate::bindings::near_word;
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::cli::progress::Progress;
use crate::cli::suggest::groups_like;
use crate::error_chain::escape_control;
use crate::id::{GroupId, PrincipalId};
use crate::service::access::parity::assigned::{AssignedError, read_assigned};
use crate::service::access::parity::compare::{compare, compare_grants};
use crate::service::access::parity::gather::{add_members, our_groups, our_people};
use crate::service::access::parity::lists::{
    ListedGroup, ListedMember, OurGroup, OurList, ProviderList, id_key, name_key,
};
use crate::service::bindings::active::ActiveSnapshot;
use crate::store::StateStore;
use member_file::{ColumnNames, FILE_BYTES_MAX, parse_columns, parse_members};
use output::MadeComparison;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use words::ProviderWords;

/// People between two updates of what a terminal shows.
const PROGRESS_EVERY: usize = 100;

#[derive(Debug, clap::Args)]
#[group(id = "list", required = true, multiple = false, args = ["file", "graph"])]
pub struct Arguments {
    /// The members of one group, as the identity provider exports them: comma-separated values with a header; `-` is the standard
    /// input. Without --columns it is Entra's download of the members of a group.
    #[arg(long, value_name = "FILE", requires = "group")]
    file: Option<PathBuf>,
    /// The group that the file is about: its displayName, externalId or SCIM id.
    #[arg(long, value_name = "NAME", requires = "file", conflicts_with = "graph")]
    group: Option<String>,
    /// Which columns of the file hold what: id (what the identity provider sends as externalId or entraObjectId), userName, active,
    /// type. The file is then not taken for one of Entra's.
    #[arg(long, value_name = "id=COLUMN,userName=COLUMN", value_delimiter = ',', requires = "file")]
    columns: Vec<String>,
    /// Ask Entra ID for the people and groups that are assigned to the app, and for the direct members of the groups.
    #[arg(long, requires = "app")]
    graph: bool,
    /// The object id of the app's service principal: Enterprise applications > the app > Overview > Object ID.
    #[arg(long, value_name = "OBJECT_ID", requires = "graph")]
    app: Option<String>,
    /// One object of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    run_command(async {
        // What was typed is read before anything is asked.
        let asked = Asked::of(arguments)?;
        let access = arguments.operator.whole_state().await?;
        let store = &access.store;
        let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
        if matches!(snapshot, ActiveSnapshot::Unreadable) {
            return Err(OperatorError::Bindings);
        }
        let mut groups = our_groups(store, &snapshot).await?;
        let provider = match asked {
            Asked::Members { group, members, words } => {
                of_file(store, &mut groups, group, members, words).await?
            }
            Asked::App(app) => of_app(arguments, app, store, &mut groups).await?,
        };
        let bindings: BTreeSet<_> =
            compared(&groups, &provider.list).flat_map(|group| &group.bindings).cloned().collect();
        let progress = Progress::begin("reading people", PROGRESS_EVERY);
        let read = our_people(store, &snapshot, &groups, &bindings, &|number| progress.show(number)).await?;
        progress.end();
        let mut comparison = compare(&provider.list, &OurList { people: read.people, groups });
        comparison.counts.unreadable += read.unreadable;
        comparison.findings.extend(compare_grants(read.grants));
        let made = MadeComparison {
            comparison,
            provider: provider.words,
            is_whole: provider.list.is_whole(),
            gone: provider.gone,
            to_reconcile: read.to_reconcile,
            bindings,
            operator: &arguments.operator,
        };
        let mut out = io::stdout().lock();
        match arguments.json {
            true => output::write_json(&mut out, &made)?,
            false => output::write_text(&mut out, &made)?,
        }
        let is_equal = made.comparison.findings.is_empty();
        Ok(if is_equal { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
    })
}

/// Whose list is asked for.
enum Asked<'a> {
    /// The members that a file lists, and the name of their group.
    Members {
        group: &'a str,
        members: Vec<ListedMember>,
        words: ProviderWords,
    },
    App(PrincipalId),
}

impl<'a> Asked<'a> {
    fn of(arguments: &'a Arguments) -> Result<Self, OperatorError> {
        if let Some(file) = &arguments.file {
            let columns = parse_columns(&arguments.columns).map_err(OperatorError::Usage)?;
            let members = read_members(file, &columns)?;
            let words = if columns.is_empty() { ProviderWords::Entra } else { ProviderWords::Other };
            return Ok(Self::Members {
                group: arguments.group.as_deref().unwrap_or_default(),
                members,
                words,
            });
        }
        let text = arguments.app.as_deref().unwrap_or_default();
        PrincipalId::parse(text).map(Self::App).map_err(|_| {
            let shown = escape_control(text);
            OperatorError::Usage(format!("--app {shown:?} is no object id (a GUID)"))
        })
    }
}

/// The identity provider's list, as it was read.
struct ReadProvider {
    list: ProviderList,
    words: ProviderWords,
    /// Groups that are assigned and gone.
    gone: Vec<String>,
}

/// The groups of ours that are compared.
fn compared<'a>(groups: &'a [OurGroup], list: &'a ProviderList) -> impl Iterator<Item = &'a OurGroup> {
    let is_named = |group: &&OurGroup| list.groups.iter().any(|listed| listed.ours == Some(group.id));
    groups.iter().filter(move |group| list.is_whole() || is_named(group))
}

async fn of_file(
    store: &StateStore,
    groups: &mut [OurGroup],
    name: &str,
    members: Vec<ListedMember>,
    words: ProviderWords,
) -> Result<ReadProvider, OperatorError> {
    let group = one_group(store, groups, name).await?;
    let mut own: Vec<&mut OurGroup> = groups.iter_mut().filter(|own| own.id == group).collect();
    add_members(store, &mut own).await?;
    let name = own.first().map(|own| own.label()).unwrap_or_default();
    let listed = ListedGroup { id: None, name, ours: Some(group), members };
    let list = ProviderList { groups: vec![listed], assigned: None };
    Ok(ReadProvider { list, words, gone: Vec::new() })
}

fn read_members(file: &Path, columns: &ColumnNames) -> Result<Vec<ListedMember>, OperatorError> {
    let shown =
        if file == Path::new("-") { "the standard input".to_owned() } else { file.display().to_string() };
    let cannot_read = |error: io::Error| OperatorError::Usage(format!("cannot read {shown}: {error}"));
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    match file == Path::new("-") {
        true => io::stdin().lock().take(limit).read_to_end(&mut bytes),
        false => File::open(file).map_err(cannot_read)?.take(limit).read_to_end(&mut bytes),
    }
    .map_err(cannot_read)?;
    parse_members(&bytes, columns).map_err(|error| OperatorError::Usage(format!("{shown} {error}")))
}

/// The one group that a text means.
async fn one_group(store: &StateStore, groups: &[OurGroup], text: &str) -> Result<GroupId, OperatorError> {
    let shown = escape_control(text);
    if let Ok(id) = GroupId::parse(text)
        && groups.iter().any(|group| group.id == id)
    {
        return Ok(id);
    }
    let is_meant = |group: &&OurGroup| {
        let is_called = group.name.as_deref().is_some_and(|name| name_key(name) == name_key(text));
        is_called || group.external_id.as_deref().is_some_and(|id| id_key(id) == id_key(text))
    };
    let found: Vec<&OurGroup> = groups.iter().filter(is_meant).collect();
    match found.as_slice() {
        [group] => Ok(group.id),
        [] => {
            let alike = groups_like(store, text).await?;
            let near = if alike.is_empty() { did_you_mean(groups, text) } else { alike };
            let what = "no displayName, externalId or SCIM id of a group of this installation";
            Err(OperatorError::Usage(format!("{shown:?} is {what}{near}")))
        }
        several => {
            let lines: Vec<String> = several
                .iter()
                .map(|group| format!("{}  {}", group.id, escape_control(&group.label())))
                .collect();
            let lines = lines.join("\n  ");
            Err(OperatorError::Usage(format!(
                "{shown:?} can mean several groups; name one by its id:\n  {lines}"
            )))
        }
    }
}

fn did_you_mean(groups: &[OurGroup], text: &str) -> String {
    let names = groups.iter().filter_map(|group| group.name.as_deref());
    match near_word(text, names) {
        Some(name) => format!("; did you mean {:?}?", escape_control(name)),
        None => "; `groups` lists them".to_owned(),
    }
}

async fn of_app(
    arguments: &Arguments,
    app: PrincipalId,
    store: &StateStore,
    groups: &mut [OurGroup],
) -> Result<ReadProvider, OperatorError> {
    let directory = arguments.operator.directory()?;
    let assigned = read_assigned(directory.as_ref(), app).await.map_err(|error| match error {
        AssignedError::NoApp(_) => OperatorError::Usage(format!(
            "{error}: take the Object ID of Enterprise applications > the app > Overview, not one of App registrations"
        )),
        error => OperatorError::Assigned(error),
    })?;
    add_members(store, &mut groups.iter_mut().collect::<Vec<_>>()).await?;
    Ok(ReadProvider { list: assigned.list, words: ProviderWords::Entra, gone: assigned.gone })
}
