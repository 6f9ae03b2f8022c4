/* Shapes and text of a drawing, escaping, and numbers without a locale. */
#include "report/svg.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { DRAWING_BYTES_MAX = 8 << 20 };

#define FONT "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
#define INK  "#1f2937"

const char *rz_number_text(double value, int decimals, char out[RZ_NUMBER_TEXT])
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    if (decimals < 0)
        decimals = 0;
    if (decimals > 9)
        decimals = 9;
    double scaled = fabs(value) * powers[decimals];
    if (!(scaled < 9e15)) { /* not finite, or beyond what whole numbers can hold */
        (void)snprintf(out, RZ_NUMBER_TEXT, "-");
        return out;
    }
    uint64_t whole = (uint64_t)(scaled + 0.5), unit = (uint64_t)powers[decimals];
    const char *sign = value < 0.0 && whole > 0 ? "-" : "";
    if (decimals == 0)
        (void)snprintf(out, RZ_NUMBER_TEXT, "%s%llu", sign, (unsigned long long)whole);
    else
        (void)snprintf(out, RZ_NUMBER_TEXT, "%s%llu.%0*llu", sign,
                       (unsigned long long)(whole / unit), decimals,
                       (unsigned long long)(whole % unit));
    return out;
}

rz_status rz_escape(rz_buffer *out, const char *text)
{
    static const struct {
        char c;
        const char *entity;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    rz_status status = RZ_OK;
    for (const char *c = text; status == RZ_OK && *c != '\0'; c++) {
        const char *entity = NULL;
        for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
            if (entities[i].c == *c)
                entity = entities[i].entity;
        if (entity != NULL)
            status = rz_buffer_add_text(out, entity);
        else if ((unsigned char)*c >= 0x20 || *c == '\n' || *c == '\t')
            status = rz_buffer_add(out, c, 1);
    }
    return status;
}

/* ---- pieces of a drawing; after a failure nothing more is written ---- */

static void put(rz_svg *svg, const char *text)
{
    if (svg->failed == RZ_OK)
        svg->failed = rz_buffer_add_text(&svg->text, text);
}

static void put_escaped(rz_svg *svg, const char *text)
{
    if (svg->failed == RZ_OK)
        svg->failed = rz_escape(&svg->text, text);
}

/* ' name="12.5"'; a tenth of a unit is finer than any screen shows. */
static void put_number(rz_svg *svg, const char *name, double value)
{
    char number[RZ_NUMBER_TEXT];
    put(svg, " ");
    put(svg, name);
    put(svg, "=\"");
    put(svg, rz_number_text(isfinite(value) ? value : 0.0, 2, number));
    put(svg, "\"");
}

static void put_attribute(rz_svg *svg, const char *name, const char *value)
{
    put(svg, " ");
    put(svg, name);
    put(svg, "=\"");
    put_escaped(svg, value);
    put(svg, "\"");
}

void rz_svg_begin(rz_svg *svg, double width, double height, const char *title)
{
    char w[RZ_NUMBER_TEXT], h[RZ_NUMBER_TEXT];
    *svg = (rz_svg){.failed = RZ_OK};
    rz_buffer_init(&svg->text, DRAWING_BYTES_MAX);
    put(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\"");
    put_number(svg, "width", width);
    put_number(svg, "height", height);
    put(svg, " viewBox=\"0 0 ");
    put(svg, rz_number_text(width, 0, w));
    put(svg, " ");
    put(svg, rz_number_text(height, 0, h));
    put(svg, "\" font-family=\"" FONT "\"><title>");
    put_escaped(svg, title);
    put(svg, "</title>\n");
    rz_svg_rectangle(svg, 0, 0, width, height, "#ffffff", 1.0);
}

void rz_svg_text(rz_svg *svg, double x, double y, double size, rz_anchor anchor, const char *color,
                 bool bold, const char *text)
{
    put(svg, "<text");
    put_number(svg, "x", x);
    put_number(svg, "y", y);
    put_number(svg, "font-size", size);
    if (anchor != RZ_ANCHOR_START)
        put_attribute(svg, "text-anchor", anchor == RZ_ANCHOR_END ? "end" : "middle");
    put_attribute(svg, "fill", color != NULL ? color : INK);
    if (bold)
        put_attribute(svg, "font-weight", "600");
    put(svg, ">");
    put_escaped(svg, text);
    put(svg, "</text>\n");
}

void rz_svg_vertical_text(rz_svg *svg, double x, double y, double size, const char *text)
{
    char a[RZ_NUMBER_TEXT], b[RZ_NUMBER_TEXT];
    put(svg, "<text transform=\"translate(");
    put(svg, rz_number_text(x, 1, a));
    put(svg, " ");
    put(svg, rz_number_text(y, 1, b));
    put(svg, ") rotate(-90)\" text-anchor=\"middle\"");
    put_number(svg, "font-size", size);
    put_attribute(svg, "fill", INK);
    put(svg, ">");
    put_escaped(svg, text);
    put(svg, "</text>\n");
}

void rz_svg_segment(rz_svg *svg, double x1, double y1, double x2, double y2, const char *color,
                    double width, const char *dash)
{
    put(svg, "<line");
    put_number(svg, "x1", x1);
    put_number(svg, "y1", y1);
    put_number(svg, "x2", x2);
    put_number(svg, "y2", y2);
    put_attribute(svg, "stroke", color);
    put_number(svg, "stroke-width", width);
    if (dash != NULL)
        put_attribute(svg, "stroke-dasharray", dash);
    put(svg, "/>\n");
}

void rz_svg_rectangle(rz_svg *svg, double x, double y, double width, double height,
                      const char *fill, double opacity)
{
    put(svg, "<rect");
    put_number(svg, "x", x);
    put_number(svg, "y", y);
    put_number(svg, "width", width > 0.0 ? width : 0.0);
    put_number(svg, "height", height > 0.0 ? height : 0.0);
    put_attribute(svg, "fill", fill);
    if (opacity < 1.0)
        put_number(svg, "fill-opacity", opacity);
    put(svg, "/>\n");
}

void rz_svg_circle(rz_svg *svg, double x, double y, double radius, const char *fill, double opacity)
{
    put(svg, "<circle");
    put_number(svg, "cx", x);
    put_number(svg, "cy", y);
    put_number(svg, "r", radius);
    put_attribute(svg, "fill", fill);
    if (opacity < 1.0)
        put_number(svg, "fill-opacity", opacity);
    put(svg, "/>\n");
}

static void put_polygon(rz_svg *svg, const double (*corner)[2], size_t n, double x, double y,
                        double radius, const char *fill)
{
    char number[RZ_NUMBER_TEXT];
    put(svg, "<polygon points=\"");
    for (size_t i = 0; i < n; i++) {
        put(svg, i > 0 ? " " : "");
        put(svg, rz_number_text(x + radius * corner[i][0], 2, number));
        put(svg, ",");
        put(svg, rz_number_text(y + radius * corner[i][1], 2, number));
    }
    put(svg, "\"");
    put_attribute(svg, "fill", fill);
    put(svg, "/>\n");
}

void rz_svg_marker(rz_svg *svg, double x, double y, double radius, size_t shape, const char *fill)
{
    /* Corners in radii, so chosen that all shapes look equally large. */
    static const double square[][2] = {{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}};
    static const double up[][2] = {{0, -1.25}, {1.15, 0.85}, {-1.15, 0.85}};
    static const double down[][2] = {{0, 1.25}, {1.15, -0.85}, {-1.15, -0.85}};
    static const double diamond[][2] = {{0, -1.3}, {1.3, 0}, {0, 1.3}, {-1.3, 0}};
    static const double cross[][2] = {{-0.4, -1.2}, {0.4, -1.2}, {0.4, -0.4},  {1.2, -0.4},
                                      {1.2, 0.4},   {0.4, 0.4},  {0.4, 1.2},   {-0.4, 1.2},
                                      {-0.4, 0.4},  {-1.2, 0.4}, {-1.2, -0.4}, {-0.4, -0.4}};
    static const struct {
        const double (*corner)[2];
        size_t n;
    } shapes[] = {{NULL, 0}, {square, 4}, {up, 3}, {diamond, 4}, {down, 3}, {cross, 12}};
    size_t which = shape % (sizeof shapes / sizeof *shapes);
    if (which == 0)
        rz_svg_circle(svg, x, y, radius, fill, 1.0);
    else
        put_polygon(svg, shapes[which].corner, shapes[which].n, x, y, radius, fill);
}

rz_status rz_svg_end(rz_svg *svg, rz_buffer *out, rz_error *error)
{
    put(svg, "</svg>\n");
    if (svg->failed == RZ_OK)
        svg->failed = rz_buffer_add(out, svg->text.data, svg->text.length);
    rz_status status = svg->failed;
    if (status != RZ_OK)
        status = rz_fail(error, status, "a drawing could not be written after %zu bytes",
                         svg->text.length);
    rz_buffer_done(&svg->text);
    return status;
}

void rz_svg_polyline(rz_svg *svg, const char *points, const char *color, const char *dash)
{
    put(svg, "<polyline fill=\"none\" stroke-linejoin=\"round\"");
    put_attribute(svg, "stroke", color);
    put_number(svg, "stroke-width", 2.0);
    if (dash != NULL)
        put_attribute(svg, "stroke-dasharray", dash);
    put(svg, " points=\"");
    put(svg, points);
    put(svg, "\"/>\n");
}
