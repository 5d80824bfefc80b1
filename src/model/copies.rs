//! Small tensors of the host, kept once more on each device that computes with them.

use candle_core::{Device, DeviceLocation, Result, Tensor};
use std::sync::{Arc, Mutex};

/// A tensor and its copies on devices.
#[derive(Clone, Debug)]
pub struct Copies {
    host: Tensor,
    copies: Arc<Mutex<Vec<(DeviceLocation, Tensor)>>>,
}

impl Copies {
    /// A tensor on the host.
    pub fn of(host: Tensor) -> Copies {
        Copies { host, copies: Arc::default() }
    }

    /// As it is on a device; brought there when it is first asked for.
    pub fn on(&self, device: &Device) -> Result<Tensor> {
        if device.is_cpu() {
            return Ok(self.host.clone());
        }
        let location = device.location();
        let mut copies = self.copies.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((_, copy)) = copies.iter().find(|(at, _)| *at == location) {
            return Ok(copy.clone());
        }
        let copy = self.host.to_device(device)?;
        copies.push((location, copy.clone()));
        Ok(copy)
    }
}
