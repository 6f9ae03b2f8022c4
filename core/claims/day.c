/* Civil dates and day numbers, after the era arithmetic of the proleptic Gregorian calendar
 * (400-year cycles of 146,097 days, years that start in March). */
#include "claims/day.h"

#include <stdio.h>
#include <time.h>

_Static_assert(RZ_DAY_MIN < RZ_DAY_MAX, "the accepted days are a range");

int32_t rz_day_from_civil(int year, int month, int day)
{
    int y = month <= 2 ? year - 1 : year;
    int era = (y >= 0 ? y : y - 399) / 400;
    int year_of_era = y - era * 400;
    int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void rz_day_to_civil(int32_t day, int *year, int *month, int *day_of_month)
{
    int z = day + 719468;
    int era = (z >= 0 ? z : z - 146096) / 146097;
    int day_of_era = z - era * 146097;
    int year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int m = (5 * day_of_year + 2) / 153;
    *day_of_month = day_of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

static bool digits(const char *text, int n, int *out)
{
    int value = 0;
    for (int i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    *out = value;
    return true;
}

static bool date(int year, int month, int day, int32_t *out)
{
    static const int days_in_month[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1800 || year > 2400 || month < 1 || month > 12 || day < 1)
        return false;
    if (day > days_in_month[month - 1] + (month == 2 && leap ? 1 : 0))
        return false;
    *out = rz_day_from_civil(year, month, day);
    return true;
}

bool rz_day_parse(const char *text, int32_t *out)
{
    int year, month, day;
    return digits(text, 4, &year) && text[4] == '-' && digits(text + 5, 2, &month) &&
           text[7] == '-' && digits(text + 8, 2, &day) && text[10] == '\0' &&
           date(year, month, day, out);
}

bool rz_day_parse_loose(const char *text, size_t n, int32_t *out)
{
    int year, month, day;
    if (n >= 10 && text[4] == '-')
        return digits(text, 4, &year) && digits(text + 5, 2, &month) && text[7] == '-' &&
               digits(text + 8, 2, &day) && (n == 10 || text[10] == 'T' || text[10] == ' ') &&
               date(year, month, day, out);
    if (n < 8 || !digits(text, 4, &year) || !digits(text + 4, 2, &month) ||
        !digits(text + 6, 2, &day))
        return false;
    return (n == 8 || text[8] == 'T' || text[8] == ' ') && date(year, month, day, out);
}

char *rz_day_text(int32_t day, char out[RZ_DAY_TEXT])
{
    out[0] = '\0';
    if (day >= RZ_DAY_MIN && day <= RZ_DAY_MAX) {
        int year, month, day_of_month;
        rz_day_to_civil(day, &year, &month, &day_of_month);
        out[0] = (char)('0' + year / 1000);
        out[1] = (char)('0' + year / 100 % 10);
        out[2] = (char)('0' + year / 10 % 10);
        out[3] = (char)('0' + year % 10);
        out[4] = out[7] = '-';
        out[5] = (char)('0' + month / 10);
        out[6] = (char)('0' + month % 10);
        out[8] = (char)('0' + day_of_month / 10);
        out[9] = (char)('0' + day_of_month % 10);
        out[10] = '\0';
    }
    return out;
}

int32_t rz_day_today(void)
{
    int64_t seconds = (int64_t)time(NULL);
    return (int32_t)(seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400);
}

int rz_day_years_between(int32_t birth_day, int32_t day)
{
    int birth_year, birth_month, birth_date, year, month, day_of_month;
    rz_day_to_civil(birth_day, &birth_year, &birth_month, &birth_date);
    rz_day_to_civil(day, &year, &month, &day_of_month);
    bool before_birthday =
        month < birth_month || (month == birth_month && day_of_month < birth_date);
    return year - birth_year - (before_birthday ? 1 : 0);
}
