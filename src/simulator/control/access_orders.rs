//! Orders about what decides access beside role assignments: deny assignments, custom roles, and the objects of Graph.

use super::control_error::{ControlError, found};
use super::simulator_handle::SimulatorHandle;
use crate::simulator::arm::custom_role::CustomRole;
use crate::simulator::arm::deny_assignment::DenyAssignment;
use crate::simulator::graph::graph_group::{GraphGroup, GraphServicePrincipal};
use crate::simulator::graph::object_type::ObjectType;
use uuid::Uuid;

impl SimulatorHandle {
    // Azure Resource Manager.

    /// Every deny assignment, oldest first.
    pub fn deny_assignments(&self) -> Vec<DenyAssignment> {
        let mut all: Vec<DenyAssignment> =
            self.with(|azure| azure.state.deny_assignments.values().cloned().collect());
        all.sort_by_key(|deny| deny.sequence);
        all
    }

    /// Makes a deny assignment or replaces the one of that id; its id.
    pub fn deny(&self, deny: DenyAssignment) -> Result<Uuid, ControlError> {
        let id = deny.id;
        self.order(|azure| {
            let sequence = azure.state.next_number();
            azure.state.deny_assignments.insert(id, DenyAssignment { sequence, ..deny });
            Ok(id)
        })
    }

    pub fn remove_deny_assignment(&self, id: Uuid) -> Result<(), ControlError> {
        self.order(|azure| found(azure.state.deny_assignments.remove(&id), "deny assignment", id).map(drop))
    }

    pub fn custom_roles(&self) -> Vec<CustomRole> {
        self.with(|azure| azure.state.custom_roles.values().cloned().collect())
    }

    /// Makes a custom role, or changes it.
    pub fn set_custom_role(&self, role: CustomRole) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.custom_roles.insert(role.id, role);
            Ok(())
        })
    }

    /// Deletes a custom role. Azure refuses that while it is assigned; here its assignments stay and have no
    /// definition.
    pub fn remove_custom_role(&self, id: Uuid) -> Result<(), ControlError> {
        self.order(|azure| found(azure.state.custom_roles.remove(&id), "custom role", id).map(drop))
    }

    // Graph.

    pub fn groups(&self) -> Vec<GraphGroup> {
        self.with(|azure| azure.state.groups.values().cloned().collect())
    }

    /// Adds a group to Graph, or replaces it with its members. ARM's principals are another list.
    pub fn add_group(&self, group: GraphGroup) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.groups.insert(group.id, group);
            Ok(())
        })
    }

    pub fn remove_group(&self, id: Uuid) -> Result<(), ControlError> {
        self.order(|azure| found(azure.state.groups.remove(&id), "group", id).map(drop))
    }

    pub fn service_principals(&self) -> Vec<GraphServicePrincipal> {
        self.with(|azure| azure.state.service_principals.values().cloned().collect())
    }

    /// Adds a service principal to Graph, or replaces it.
    pub fn add_service_principal(&self, principal: GraphServicePrincipal) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.service_principals.insert(principal.id, principal);
            Ok(())
        })
    }

    pub fn remove_service_principal(&self, id: Uuid) -> Result<(), ControlError> {
        self.order(|azure| {
            found(azure.state.service_principals.remove(&id), "service principal", id).map(drop)
        })
    }

    /// The types of objects that callers of Graph may not read.
    pub fn hidden_types(&self) -> Vec<ObjectType> {
        self.with(|azure| azure.state.hidden_types.to_vec())
    }

    /// From now on a collection shows objects of these types by type and id alone.
    pub fn set_hidden_types(&self, types: Vec<ObjectType>) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.hidden_types.set(types);
            Ok(())
        })
    }
}
