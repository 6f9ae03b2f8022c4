/* What the tree engines share: the settings that they are tuned over and when a fit ends. */
#ifndef RZ_MODELS_ENGINE_GRID_H
#define RZ_MODELS_ENGINE_GRID_H

#include "engine.h"

enum { TREE_GRID_FULL = 21, TREE_GRID_SMALL = 3, TREE_ROUNDS_MAX = 2000, TREE_PATIENCE = 50 };

extern const engine_setting tree_grid_full[TREE_GRID_FULL], tree_grid_small[TREE_GRID_SMALL];

#endif
