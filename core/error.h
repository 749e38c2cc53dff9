// The error types and `check`, for every room above core.
#pragma once
#include "retort/kernels/check.h"
