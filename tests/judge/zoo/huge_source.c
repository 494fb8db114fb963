// expect: too_large
// pad: 100000000
/* 100 MB of source (padded by the runner). */
RUN
{
    UNUSED;
}
