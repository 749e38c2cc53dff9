#pragma once
#include "retort/core/random.h"
