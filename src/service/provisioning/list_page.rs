//! One page on its way out: resources of either type in one order, and where the page begins and ends.

use crate::id::{GroupId, UserId};
use crate::scim::{ListQuery, Projection, ResourceType};
use crate::service::ServiceError;
use crate::service::provisioning::group_view::GroupView;
use crate::service::provisioning::list_position::ListPosition;
use crate::service::provisioning::listed_kind::{ListedKind, RelationsWanted, ShownText};
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::render::{RenderOptions, ResourceRenderer, UnreadablePolicy};
use crate::service::provisioning::stream::{ResourceSink, StreamStop};
use crate::store::TableRow;
use uuid::Uuid;

/// What a page is shown with.
#[derive(Clone, Copy)]
pub(super) struct PageOptions<'a> {
    pub view: &'a GroupView,
    pub query: &'a ListQuery,
    pub sink: &'a ResourceSink,
    /// The page shows every resource between its first and its last one, in the order of their ids.
    pub neighbours: bool,
    /// Members that the page carries at most.
    pub members_max: usize,
}

/// What one page has shown so far.
pub(super) struct ListPage<'a> {
    sink: &'a ResourceSink,
    users: Option<TypeRenderer<'a, UserId>>,
    groups: Option<TypeRenderer<'a, GroupId>>,
    members_max: usize,
    members: usize,
    /// How many more there is room for.
    pub left: usize,
    pub shown: usize,
    /// The page has more members than a page may have, and ended before its time.
    pub is_cut: bool,
    /// What is shown is kept here until the total is said.
    pub kept: Option<Vec<String>>,
    /// The first resource that was shown.
    pub first: Option<ListPosition>,
    /// The last one that was shown, or left out after it.
    pub last: Option<ListPosition>,
}

impl<'a> ListPage<'a> {
    pub fn new(options: PageOptions<'a>) -> Self {
        let PageOptions { query, sink, members_max, .. } = options;
        Self {
            sink,
            users: TypeRenderer::of(options),
            groups: TypeRenderer::of(options),
            members_max,
            members: 0,
            left: query.count,
            shown: 0,
            is_cut: false,
            kept: None,
            first: None,
            last: None,
        }
    }

    /// Adds headers of one type, in their order.
    pub fn add(&mut self, kind: ResourceType, rows: impl IntoIterator<Item = TableRow>) {
        match (kind, &mut self.users, &mut self.groups) {
            (ResourceType::User, Some(users), _) => users.renderer.add(rows),
            (ResourceType::Group, _, Some(groups)) => groups.renderer.add(rows),
            _ => {}
        }
    }

    /// What was kept, for a page that was shown from its end.
    pub fn turn_around(&mut self) -> Vec<String> {
        std::mem::swap(&mut self.first, &mut self.last);
        let mut kept = self.kept.take().unwrap_or_default();
        kept.reverse();
        kept
    }

    /// Shows those whose headers were added; false where the page has ended.
    pub async fn show(&mut self, positions: Vec<ListPosition>) -> Result<bool, StreamStop> {
        for position in positions {
            if let Some(text) = self.text_of(&position).await? {
                self.members += text.members;
                if self.members > self.members_max && self.shown > 0 {
                    self.is_cut = true;
                    return Ok(false);
                }
                self.send(text.text).await?;
                self.first.get_or_insert_with(|| position.clone());
            }
            self.last = Some(position);
            if self.left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn send(&mut self, text: String) -> Result<(), StreamStop> {
        match &mut self.kept {
            Some(kept) => kept.push(text),
            None => self.sink.resource(text).await?,
        }
        self.shown += 1;
        self.left = self.left.saturating_sub(1);
        Ok(())
    }

    async fn text_of(&mut self, position: &ListPosition) -> Result<Option<ShownText>, ServiceError> {
        match (position.kind, &mut self.users, &mut self.groups) {
            (ResourceType::User, Some(users), _) => users.text_of(position.id).await,
            (ResourceType::Group, _, Some(groups)) => groups.text_of(position.id).await,
            _ => Ok(None),
        }
    }
}

/// Shows the resources of one type.
struct TypeRenderer<'a, I: ListedKind> {
    renderer: ResourceRenderer<'a, I>,
    projection: &'a Projection,
    /// What comes next, where that was asked for and something before it was left out.
    ahead: Option<(Uuid, ShownText)>,
}

impl<'a, I: ListedKind> TypeRenderer<'a, I> {
    fn of(options: PageOptions<'a>) -> Option<Self> {
        let PageOptions { view, query, neighbours, .. } = options;
        let projection = &query.of(I::KIND)?.projection;
        let needs = ProjectionNeeds::of::<I>(|attribute| projection.wants(attribute));
        let wanted = RelationsWanted { needs, among: None, neighbours };
        let unreadable = UnreadablePolicy::LeaveOut;
        let renderer = ResourceRenderer::new(RenderOptions { view, wanted, unreadable });
        Some(Self { renderer, projection, ahead: None })
    }

    /// The resource of that id, which comes next; `None`: it is left out.
    async fn text_of(&mut self, id: Uuid) -> Result<Option<ShownText>, ServiceError> {
        if self.ahead.is_none()
            && let Some(text) = self.renderer.next_text(self.projection).await?
        {
            self.ahead = self.renderer.last().map(|last| (last.uuid(), text));
        }
        Ok(self.ahead.take_if(|(ahead, _)| *ahead == id).map(|(_, text)| text))
    }
}
