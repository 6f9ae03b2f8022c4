/* The table of engines, and the grid that both tree engines are tuned over. */
#include "engine.h"

#include "base/size.h"
#include "engine_grid.h"

#include <string.h>

static const engine *const engines[] = {&engine_xgboost, &engine_lightgbm, &engine_logistic};

const engine *engine_find(const char *name)
{
    for (size_t i = 0; i < RZ_COUNT(engines); i++)
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    return NULL;
}

/* EHRSHOT's grid for count features: depth 3, 6 or any, rate 0.02, 0.1 or 0.5, leaves 10, 25 or
 * 100. At depth 3 a tree has 8 leaves at most, so that the three numbers of leaves are one. */
const engine_setting tree_grid_full[TREE_GRID_FULL] = {
    {.rate = 0.02, .depth = 3, .leaves = 10},  {.rate = 0.02, .depth = 6, .leaves = 10},
    {.rate = 0.02, .depth = 6, .leaves = 25},  {.rate = 0.02, .depth = 6, .leaves = 100},
    {.rate = 0.02, .depth = 0, .leaves = 10},  {.rate = 0.02, .depth = 0, .leaves = 25},
    {.rate = 0.02, .depth = 0, .leaves = 100}, {.rate = 0.1, .depth = 3, .leaves = 10},
    {.rate = 0.1, .depth = 6, .leaves = 10},   {.rate = 0.1, .depth = 6, .leaves = 25},
    {.rate = 0.1, .depth = 6, .leaves = 100},  {.rate = 0.1, .depth = 0, .leaves = 10},
    {.rate = 0.1, .depth = 0, .leaves = 25},   {.rate = 0.1, .depth = 0, .leaves = 100},
    {.rate = 0.5, .depth = 3, .leaves = 10},   {.rate = 0.5, .depth = 6, .leaves = 10},
    {.rate = 0.5, .depth = 6, .leaves = 25},   {.rate = 0.5, .depth = 6, .leaves = 100},
    {.rate = 0.5, .depth = 0, .leaves = 10},   {.rate = 0.5, .depth = 0, .leaves = 25},
    {.rate = 0.5, .depth = 0, .leaves = 100}};

const engine_setting tree_grid_small[TREE_GRID_SMALL] = {{.rate = 0.1, .depth = 3, .leaves = 10},
                                                         {.rate = 0.1, .depth = 6, .leaves = 25},
                                                         {.rate = 0.1, .depth = 0, .leaves = 10}};
