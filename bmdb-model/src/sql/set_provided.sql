-- Sets the tag of many machines, as a whole. The arrays are in machine order.
INSERT INTO machine_provided (machine_id, provider, provider_id, provider_reservation_id,
    provider_ip_address, provider_location, provider_status)
SELECT *
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
ON CONFLICT (machine_id) DO UPDATE SET provider = excluded.provider,
    provider_id = excluded.provider_id,
    provider_reservation_id = excluded.provider_reservation_id,
    provider_ip_address = excluded.provider_ip_address,
    provider_location = excluded.provider_location,
    provider_status = excluded.provider_status
