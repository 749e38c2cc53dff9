// The machine, for every room above core: devices, the host threads a process may use, the GPU's energy counter.
#pragma once
#include "retort/kernels/device.h"
#include "retort/kernels/energy.h"
#include "retort/kernels/thread_team.h"
