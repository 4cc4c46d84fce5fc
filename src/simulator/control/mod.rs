//! Orders to the simulator: functions of [`simulator_handle::SimulatorHandle`] for tests in the same process, and the control
//! API over HTTP, which calls the same functions.

mod access_orders;
mod access_routes;
pub mod arm_orders;
pub mod control_error;
pub mod http_api;
pub mod origin_guard;
mod responses;
pub mod service_orders;
mod service_routes;
pub mod simulator_handle;
